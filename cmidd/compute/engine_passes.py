"""How a pass through a network is computed: compiled, autocast and laid out as the engine in force says."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch._functorch import config as functorch

from cmidd.compute import compiling
from cmidd.compute.engine import current

# That a pass is compiled for one by one: a batch, the last of an epoch, a part of the test set, a class.
MOST_SHAPES = 4
F_ = TypeVar("F_", bound=Callable[..., Any])


def as_the_engine_says(function: F_, forward: bool = False) -> F_:
    """Compile and autocast a function of networks and tensors as the engine says.

    Args:
        forward: it takes forward derivatives, which go with autocast nowhere, and with images in channels_last from
            torch 2.15 on: group norm's is a view of them before.
    """

    @functools.cache
    def compiled(dynamic: bool | None) -> Callable[..., Any]:
        # Terms that are balanced need gradients of one graph more than once, which donated buffers do not survive.
        functorch.donated_buffer = False
        compiling.watch()
        return torch.compile(function, dynamic=dynamic)  # Once it is wanted: this call alone imports for two seconds.

    shapes: set[tuple[torch.Size, ...]] = set()

    def compiled_for(*arguments: Any) -> Any:
        """Compiled for these shapes, and for any from where :data:`MOST_SHAPES` came."""
        own = tuple(a.shape for a in arguments if isinstance(a, Tensor))
        if own in shapes or len(shapes) < MOST_SHAPES:
            shapes.add(own)
            return compiled(False)(*arguments)
        return compiled(None)(*arguments)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        engine = current()
        device = next(a.device for a in arguments if isinstance(a, Tensor))
        if not engine.channels_last and device.type != "mps":
            return function(*arguments)
        # On mps gradients of pooling and batch norm are wrong in the other layout (torch's issues 175189, 175190).
        plain = device.type == "mps" or (forward and torch.__version__ < "2.15")
        layout = torch.contiguous_format if plain else torch.channels_last
        arguments = tuple(
            a.contiguous(memory_format=layout) if isinstance(a, Tensor) and a.dim() == 4 else a for a in arguments
        )
        # Without its cache: that would outlive the steps of the parameters it was made from.
        enabled = not forward and engine.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False):
            return (compiled_for if engine.compile else function)(*arguments)

    return call  # type: ignore[return-value]
