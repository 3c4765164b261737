"""A pretended GPU: CPU tensors that are said to lie on one, with every wait of the host counted.

Every operation computes for real, so whole runs work. What mixes the devices, gives a tensor of the device a generator
of the CPU, or hands it to numpy raises as it would on a GPU; on the pretended ``mps`` float64 does too, and a copy that
is not waited for, which there may go wrong in silence. Kernels and host synchronisations are counted, with where they
come from. Not covered: Triton and ``torch.compile``, streams,
graphs, and the numerics of a GPU (autocast is that of the CPU).
"""

import contextlib
import functools
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Literal
from unittest.mock import patch

import torch

from tests.support.pretended.calls import Calls
from tests.support.pretended.labels import Counts
from tests.support.pretended.operations import Operations
from tests.support.pretended.world import World

GIB = 2**30


@contextlib.contextmanager
def pretended_device(kind: Literal["cuda", "mps"], index: int = 0) -> Iterator[Counts]:
    """A machine with a GPU until the end of the block; yields what is counted there.

    With an ``index`` it has others before it, which torch takes where nothing is said, and to use them raises.

    A wait is: the value of a tensor (``item``, ``bool``, ``tolist``, ``equal``), a size that depends on values
    (``nonzero``, a boolean mask, ``unique``, ``bincount``), a copy to the host, a copy to the device of what is not
    pinned or not ``non_blocking``, indices that lie on the CPU, ``synchronize``.
    """
    world = World(torch.device(kind, index))
    with contextlib.ExitStack() as stack:
        for module, names in _answers(world).items():
            for name, value in names.items():
                stack.enter_context(patch.object(module, name, value, create=True))
        stack.enter_context(_backward_seen(world))
        stack.enter_context(patch.object(torch, "autocast", _autocast(kind)))
        stack.enter_context(patch.object(torch, "Generator", _generators(world, torch.Generator)))
        stack.enter_context(Operations(world))
        stack.enter_context(Calls(world))
        yield world.counts


def _generators(world: World, real: type[torch.Generator]) -> type[torch.Generator]:
    """What makes generators of the CPU, and remembers those that were asked for on the device."""

    class Generator(real):  # type: ignore[misc, valid-type]
        def __new__(cls, device: torch.device | str = "cpu") -> Any:
            made = real()
            if world.is_there(torch.device(device)):
                world.generators.append(made)
            return made

    return Generator


def _answers(world: World) -> dict[Any, dict[str, Any]]:
    """What torch's modules say of the device, by module and name."""

    def synchronize(*_: Any) -> None:
        world.counts.sync("synchronize")

    if world.device.type == "mps":
        memory: dict[str, Any] = {"current_allocated_memory": lambda: 0, "driver_allocated_memory": lambda: 0}
        memory |= {"recommended_max_memory": lambda: 16 * GIB, "empty_cache": lambda: None}
        return {
            # Cached as torch's own is, whose inner function torch._dynamo asks for.
            torch.backends.mps: {"is_available": functools.cache(lambda: True), "is_built": lambda: True},
            torch.mps: {**memory, "synchronize": synchronize, "device_count": lambda: 1},
        }
    properties = SimpleNamespace(uuid="0", name="Pretended", total_memory=80 * GIB, major=9, minor=0)
    # Whether a graph is being captured, which Adam asks under a name for each version of torch.
    asked = ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check")
    return {
        torch.optim.Optimizer: {name: lambda _: None for name in asked if hasattr(torch.optim.Optimizer, name)},
        torch.cuda: {
            "is_available": lambda: True,
            "device_count": lambda: 1 + world.device.index,
            "current_device": lambda: 0,
            "get_device_name": lambda *_: properties.name,
            "get_device_properties": lambda *_: properties,
            "get_device_capability": lambda *_: (9, 0),
            "is_bf16_supported": lambda *_: True,
            "synchronize": synchronize,
            "empty_cache": lambda: None,
            "mem_get_info": lambda *_: (80 * GIB, 80 * GIB),
            "memory_allocated": lambda *_: 0,
            "max_memory_allocated": lambda *_: 0,
            "reset_peak_memory_stats": lambda *_: None,
        },
    }


@contextlib.contextmanager
def _backward_seen(world: World) -> Iterator[None]:
    """Has calls from the backward of a Python autograd function seen too: torch switches the mode off for ``grad``."""
    run = torch.autograd.graph._engine_run_backward

    def seen(*args: Any, **kwargs: Any) -> Any:
        with Calls(world):
            return run(*args, **kwargs)

    with (
        patch.object(torch.autograd.graph, "_engine_run_backward", seen),
        patch.object(torch.autograd, "_engine_run_backward", seen),
    ):
        yield


def _autocast(kind: str) -> Any:
    """``torch.autocast`` that means the CPU, where everything is computed, when it is told the device."""
    real = torch.autocast

    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return real("cpu" if device_type == kind else device_type, *args, **kwargs)

    return autocast
