"""The pretended GPU (tests/support/pretended) refuses what a GPU would, and counts every wait for it."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cmidd.networks import build_network
from tests.support.pretended import pretended_device
from tests.support.runs import ROOT


def there(*shape):
    return torch.ones(*shape, device="cuda")


def cpu_generator():
    return torch.Generator().manual_seed(0)


MIXTURES = {
    "sum": lambda: there(3) + torch.ones(3),
    "product": lambda: there(2, 2) @ torch.ones(2, 2),
    "concatenation": lambda: torch.cat([there(3), torch.ones(3)]),
    "comparison": lambda: torch.equal(there(3), torch.ones(3)),
    "index_add": lambda: torch.zeros(3).index_add(0, torch.zeros(2).long(), there(2)),
    "index of a CPU tensor": lambda: torch.ones(3)[there(2).long()],
    "values written": lambda: torch.zeros(3).add_(there(3)),
    "values put": lambda: there(3).index_put_((torch.tensor([0]),), torch.ones(1)),
    "loss with labels elsewhere": lambda: F.cross_entropy(there(2, 4), torch.zeros(2).long()),
    "network elsewhere": lambda: nn.Linear(3, 2)(there(1, 3)),
    "in a backward pass": lambda: Backward.apply(torch.ones(3, device="cuda", requires_grad=True)).sum().backward(),
    "generator": lambda: there(3).uniform_(generator=cpu_generator()),
    "generator of a factory": lambda: torch.rand(3, device="cuda", generator=cpu_generator()),
}


class Backward(torch.autograd.Function):
    """Whose backward pass forgets the device."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.ones(3)


@pytest.mark.parametrize("planted", MIXTURES.values(), ids=MIXTURES)
def test_what_mixes_devices_is_refused(planted):
    with pretended_device("cuda"), pytest.raises(RuntimeError, match=r"same device|device type for generator"):
        planted()


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_of_several_devices_only_the_one_that_is_computed_on_is_to_be_used(device):
    with pretended_device("cuda", 1):
        there = torch.ones(3, device="cuda:1")
        assert (there.device.index, torch.cuda.device_count()) == (1, 2)
        for strays in (lambda: torch.ones(3, device=device), lambda: there.to(device), lambda: torch.Generator(device)):
            with pytest.raises(RuntimeError, match="another device than cuda:1"):
                strays()


@pytest.mark.parametrize("read", [lambda x: x.numpy(), np.asarray, lambda x: np.asarray(x[1:])])
def test_numpy_sees_no_tensor_of_the_device(read):
    with pretended_device("cuda"):
        read(there(3).cpu())
        with pytest.raises(TypeError, match=r"convert cuda:0 .* to numpy"):
            read(there(3))


@pytest.mark.parametrize(
    "planted",
    [
        lambda: torch.ones(3, device="mps").double(),
        lambda: torch.ones(3, dtype=torch.float64).to("mps"),
        lambda: torch.tensor(1.0, device="mps", dtype=torch.float64),
        lambda: nn.Linear(2, 2).double().to("mps"),
    ],
)
def test_mps_has_no_float64(planted):
    with pretended_device("mps"), pytest.raises(TypeError, match="MPS framework doesn't support float64"):
        planted()


def test_mps_pins_no_memory():
    with pretended_device("mps"), pytest.raises(RuntimeError, match="pin"):
        torch.empty(3, pin_memory=True)


def test_mps_takes_no_copy_that_is_not_waited_for():
    with pretended_device("mps"), pytest.raises(RuntimeError, match="not waited for"):
        torch.ones(3).to("mps", non_blocking=True)


WAITS = {
    "item": (1, lambda x: x.sum().item()),
    "float": (1, lambda x: float(x.sum())),
    "bool": (1, lambda x: bool((x > 0).all())),
    "if": (1, lambda x: 1 if x.max() > 0 else 0),
    "tolist": (1, lambda x: x.tolist()),
    "cpu": (1, lambda x: x.cpu()),
    "to the host": (1, lambda x: x.to("cpu")),
    "nonzero": (1, lambda x: x.nonzero()),
    "mask": (1, lambda x: x[x > 0]),
    "unique": (1, lambda x: x.unique()),
    "bincount": (2, lambda x: x.long().bincount(minlength=4)),
    "equal": (1, lambda x: torch.equal(x, x)),
    "indices from the CPU": (1, lambda x: x[torch.tensor([0, 1])]),
    "pageable copy": (1, lambda x: torch.ones(3).to(x.device)),
    "pageable copy, not blocking": (1, lambda x: torch.ones(3).to(x, non_blocking=True)),
    "pinned copy, blocking": (1, lambda x: torch.ones(3).pin_memory().to(x)),
    "pageable copy in place": (1, lambda x: x.copy_(torch.ones(4))),
    "numbers": (1, lambda x: torch.tensor([1.0, 2.0], device="cuda")),
    "network": (2, lambda x: nn.Linear(4, 2).to("cuda")),
    "synchronize": (1, lambda x: torch.cuda.synchronize()),
}


@pytest.mark.parametrize(("expected", "planted"), WAITS.values(), ids=WAITS)
def test_what_waits_for_the_device_is_counted_with_its_place(expected, planted):
    with pretended_device("cuda") as counts:
        x = there(4)
        assert counts.syncs == 0
        planted(x)
    assert counts.syncs == expected, counts.lines()
    assert all(place.startswith("tests/behaviour/test_pretended.py:") for place, _ in counts.where)


def test_a_library_in_an_environment_below_the_project_is_no_place_of_the_project():
    library = ROOT / ".venv" / "lib" / "python3" / "site-packages" / "library.py"
    asks = eval(compile("lambda x: x.item()", str(library), "eval"))
    with pretended_device("cuda") as counts:
        asks(there(1))
    assert [place.partition(":")[0] for place, _ in counts.where] == ["tests/behaviour/test_pretended.py"]


def test_what_needs_not_wait_is_not_counted():
    with pretended_device("cuda") as counts:
        x = there(4)
        pinned = torch.empty(4, pin_memory=True).normal_(generator=cpu_generator())
        assert pinned.is_pinned() and pinned[1:].is_pinned() and not torch.ones(4).is_pinned()
        y = (x + pinned.to("cuda", non_blocking=True) * 2.0)[x.long().clamp(max=0)]
        torch.where(y > 0, y, torch.zeros_like(y)).sum()
        x.copy_(pinned, non_blocking=True)
        torch.empty(4, pin_memory=True).copy_(y, non_blocking=True)
    assert counts.syncs == 0, counts.lines()
    assert counts.kernels > 5


@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_network_is_trained_there_to_the_numbers_of_the_cpu(kind):
    def trained(device):
        network = build_network("convnet", (1, 8, 8), 3, cpu_generator(), device, width=4, depth=2)
        images = torch.rand(6, 1, 8, 8, generator=cpu_generator()).to(device)
        labels = (torch.arange(6) % 3).to(device)
        network = copy.deepcopy(network)
        F.cross_entropy(network(images), labels).backward()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        optimizer.step()
        assert {p.device.type for p in (*network.parameters(), *optimizer.param_groups[0]["params"])} == {device}
        assert (images.is_cuda, images.is_mps) == (device == "cuda", device == "mps")
        return [parameter.detach().cpu().clone() for parameter in network.parameters()]

    with pretended_device(kind) as counts:
        found = trained(kind)
        assert counts.kernels > 20
    torch.testing.assert_close(found, trained("cpu"))
    assert counts.syncs < 30


def test_after_it_the_machine_is_as_it_was():
    available = torch.cuda.is_available
    with pretended_device("cuda"):
        assert torch.cuda.is_available() and torch.cuda.device_count() == 1
        x = there(3)
    assert torch.cuda.is_available is available
    assert x.device.type == "cpu"
