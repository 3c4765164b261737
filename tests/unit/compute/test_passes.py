"""Parts of a call: equal where they are compiled, each shape compiled once, and the numbers of plain passes."""

import json

import pytest
import torch

from cmidd.compute import engine, passes
from cmidd.compute.embeddings import embed_real
from cmidd.compute.engine import Engine
from cmidd.compute.training import predictions
from cmidd.data.split import Split
from cmidd.networks import build_network
from tests.support.forked import forked

SHAPE = (1, 8, 8)
VALUES = 64


def network_of(**options):
    return build_network("convnet", SHAPE, 3, torch.Generator().manual_seed(0), width=4, depth=1, **options)


def images_of(count):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(count))


@pytest.mark.parametrize(
    ("count", "most", "size"),
    [(10_000, 651, 625), (2_560, 651, 640), (50_000, 651, 625), (500, 651, 651), (7, 3, 3), (13, 4, 4), (9, 4, 3)],
)
def test_compiled_parts_are_equal_where_they_can_be_and_never_larger(count, most, size, monkeypatch):
    monkeypatch.setattr(passes, "CHUNK_VALUES", most)
    images = torch.empty(count, 1)
    assert passes.part_size(images) == most
    monkeypatch.setattr(engine, "_engine", Engine(compile=True))
    assert passes.part_size(images) == size


def whole_and_in_parts(compute, monkeypatch, most):
    """What a function gives at once, and in parts of ``most`` images as a compiling engine takes them."""
    plain = compute()
    monkeypatch.setattr(passes, "CHUNK_VALUES", most * VALUES)
    monkeypatch.setattr(engine, "_engine", Engine(compile=True))
    for name in ("embed", "logits", "logits_at", "directional_loss"):
        monkeypatch.setattr(passes, name, getattr(passes, name).__wrapped__)
    return plain, compute()


@pytest.mark.parametrize("name", ["embed_in_chunks", "logits_in_chunks"])
@pytest.mark.parametrize("most", [4, 5, 6])
def test_a_last_part_that_is_filled_changes_neither_values_nor_gradients(most, name, monkeypatch):
    network = network_of()

    def compute():
        leaf = images_of(13).requires_grad_()
        computed = getattr(passes, name)(network, leaf)
        return computed, torch.autograd.grad(computed.square().sum(), leaf)[0]

    for plain, ours in zip(*whole_and_in_parts(compute, monkeypatch, most), strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("most", [4, 5, 6])
def test_a_last_part_that_is_filled_changes_no_mean_loss(most, monkeypatch):
    """Second derivatives of 13 images, the forward way: the copies have the label that cross_entropy leaves out."""
    network, images, labels = network_of().double(), images_of(13).double(), torch.arange(13) % 3
    theta = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    def compute():
        gradient = passes.gradient_at(network, theta, images, labels)
        return gradient, *passes.along(network, theta, torch.ones_like(theta), images, labels)[:3]

    for plain, ours in zip(*whole_and_in_parts(compute, monkeypatch, most), strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)


def test_a_network_that_mixes_images_sees_no_copies(monkeypatch):
    network = network_of(norm="batchnorm").train()
    seen = []
    monkeypatch.setattr(passes, "CHUNK_VALUES", 4 * VALUES)
    monkeypatch.setattr(engine, "_engine", Engine(compile=True))
    passes.by_parts(lambda part: seen.append(len(part)) or part, network, images_of(13))
    passes.by_parts(lambda part: seen.append(len(part)) or part, network.eval(), images_of(13))
    assert seen == [4, 4, 4, 1, 4, 4, 4, 4]


def count_graphs(*calls):
    """Print after each of some calls how many graphs were compiled, and of how many the shapes are not fixed."""
    graphs = []

    def backend(module, inputs):
        graphs.append(any(isinstance(each, torch.SymInt) for each in inputs))
        return module.forward

    compile_as_torch = torch.compile
    torch.compile = lambda function, **how: compile_as_torch(function, backend=backend, **how)
    network, counts = network_of(), []
    with engine.using(Engine(compile=True)):
        for kind, count, most in calls:
            passes.CHUNK_VALUES = most * VALUES
            if kind == "real":
                embed_real(network, images_of(count))
            elif kind == "synthetic":
                passes.embed_in_chunks(network, images_of(count).requires_grad_()).sum().backward()
            else:
                predictions(network, Split(images_of(count), torch.zeros(count, dtype=torch.long)))
            counts.append((len(graphs), sum(graphs)))
    print(json.dumps(counts))


def test_a_pass_is_compiled_once_for_all_parts_of_a_call_with_its_shapes_fixed_and_for_any_after_many():
    calls = [("real", 13, 4), ("real", 13, 4), ("synthetic", 3, 4), ("test", 13, 4), ("real", 8, 4)]
    many = [("real", count, 99) for count in (5, 6, 7, 9, 10, 11)]
    done = forked(count_graphs, *calls, *many, cwd=None)
    assert done.returncode == 0, done.stderr
    counts = [tuple(pair) for pair in json.loads(done.stdout.splitlines()[-1])]
    assert counts[:5] == [(1, 0), (1, 0), (2, 0), (3, 0), (3, 0)]
    assert counts[5:] == [(4, 0), (5, 0), (6, 1), (6, 1), (6, 1), (6, 1)]
