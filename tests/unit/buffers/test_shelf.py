"""Teachers that a GPU has no room for wait on the host; the ones that are asked for are the same to the bit."""

import pytest
import torch

from cmidd.buffers import shelf
from cmidd.buffers.shelf import Shelf
from cmidd.networks import build_network
from tests.support.pretended import pretended_device

CUDA, COUNT = torch.device("cuda"), 7
IMAGES = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def network_of(seed, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    return build_network(
        "convnet", (1, 8, 8), 3, generator, torch.device(device), width=4, depth=1, norm="batchnorm"
    ).eval()


@pytest.fixture
def paths(tmp_path):
    path = tmp_path / "teacher.safetensors"
    path.write_bytes(bytes(100))
    return [path] * COUNT


def shelf_of(paths):
    kept = Shelf(paths, CUDA)
    return kept, [kept.keep(network_of(seed, kept.home)) for seed in range(COUNT)]


def on_device(networks):
    return [number for number, network in enumerate(networks) if next(network.parameters()).is_cuda]


def test_those_used_last_are_on_the_device_and_give_what_they_give_anywhere(paths, monkeypatch):
    wanted = [network_of(seed).embed(IMAGES) for seed in range(COUNT)]
    monkeypatch.setattr(shelf, "MOST_BYTES", 0)
    with pretended_device("cuda"):
        kept, networks = shelf_of(paths)
        assert on_device(networks) == []
        for number in (0, 1, 2, 3, 0, 4, 4, 6):
            assert torch.equal(kept.lend(networks[number]).embed(IMAGES.cuda()).cpu(), wanted[number])
        assert on_device(networks) == [0, 3, 4, 6]
        assert not any(parameter.requires_grad for network in networks for parameter in network.parameters())
        assert [torch.equal(each.embed(IMAGES.cuda()).cpu(), own) for each, own in zip(kept, wanted, strict=True)] == [
            True
        ] * COUNT


def test_a_teacher_that_had_to_go_is_still_the_one_in_a_graph(paths, monkeypatch):
    def gradient(network, device, meanwhile=lambda: None):
        leaf = IMAGES.to(device).requires_grad_()
        embedded = network.embed(leaf)
        meanwhile()
        return torch.autograd.grad(embedded.square().sum(), leaf)[0].cpu()

    wanted = gradient(network_of(0).requires_grad_(False), "cpu")
    monkeypatch.setattr(shelf, "MOST_BYTES", 0)
    with pretended_device("cuda"):
        kept, networks = shelf_of(paths)

        def others():
            for network in networks[1:]:
                kept.lend(network)

        assert torch.equal(gradient(kept.lend(networks[0]), "cuda", others), wanted)
        assert 0 not in on_device(networks)


def test_as_many_as_there_is_room_for_stay(paths, monkeypatch):
    one = sum(tensor.nbytes for tensor in network_of(0).state_dict().values())
    monkeypatch.setattr(shelf, "MOST_BYTES", 5 * one)
    for path in set(paths):
        path.write_bytes(bytes(one))
    with pretended_device("cuda"):
        kept, networks = shelf_of(paths)
        for network in networks:
            kept.lend(network)
        assert on_device(networks) == [2, 3, 4, 5, 6]


def test_a_pool_that_fits_is_on_the_device_from_the_first_and_one_on_the_cpu_stays(paths, monkeypatch):
    with pretended_device("cuda"):
        kept, networks = shelf_of(paths)
        assert on_device(networks) == list(range(COUNT))
        assert kept.lend(networks[0]) is networks[0]
    monkeypatch.setattr(shelf, "MOST_BYTES", 0)
    on_cpu = Shelf(paths, torch.device("cpu"))
    network = on_cpu.keep(network_of(0))
    before = [parameter.data_ptr() for parameter in network.parameters()]
    assert [parameter.data_ptr() for parameter in on_cpu.lend(network).parameters()] == before
