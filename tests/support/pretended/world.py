"""What torch's modes know of a pretended device: its tensors, pinned ones, the counts, and moves from and to it."""

from typing import Any

import torch
from torch import Tensor

from tests.support.pretended.labels import Counts, Labels


class WrongDevice(RuntimeError):
    """Tensors, or a generator and a tensor, on devices that do not go together."""


class World:
    """What both modes know: the device, its tensors, pinned ones, and the counts."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.counts = device, Counts()
        self.on_device, self.pinned = Labels(), Labels()
        self.anywhere = Labels()  # made by torch's own code: on the device of what they meet first
        self.generators: list[torch.Generator] = []  # that are said to be the device's
        self.asked = False  # whether the program itself asked for the tensor that is being made
        self.moving = False  # whether the modes only look on

    def is_there(self, device: torch.device) -> bool:
        """Whether what is asked for on ``device`` is to lie on the pretended one."""
        if device.type == self.device.type and (device.index or 0) != self.device.index:
            raise WrongDevice(f"{device} is another device than {self.device}, which this machine computes on")
        return device.type == self.device.type

    def put(self, tensor: Tensor) -> Tensor:
        """Say that a tensor lies on the device."""
        if self.device.type == "mps" and tensor.dtype == torch.float64:
            raise TypeError(
                "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
            )
        self.on_device.add(tensor)
        return tensor

    def is_host_copy_free(self, host: Tensor, non_blocking: bool) -> bool:
        """Whether a copy from or to the host goes on while the program does."""
        if self.device.type == "mps" and non_blocking:
            raise RuntimeError("A copy to mps that is not waited for may read memory that is free by then.")
        return non_blocking and host in self.pinned

    def moved(self, tensor: Tensor, *, there: bool, non_blocking: bool, **layout: Any) -> Tensor:
        """A copy on the device (``there``) or on the host, differentiable."""
        waits = not self.is_host_copy_free(tensor, non_blocking) if there else not non_blocking
        if waits:
            self.counts.sync("copy to the device" if there else "copy to the host")
        return _Move.apply(tensor, self, there, layout)  # type: ignore[no-untyped-call]

    def cloned(self, tensor: Tensor, there: bool, layout: dict[str, Any]) -> Tensor:
        """A copy of the values alone."""
        before, self.moving = self.moving, True
        try:
            copy = tensor.detach().clone(**layout)
        finally:
            self.moving = before
        return self.put(copy) if there else copy


class _Move(torch.autograd.Function):
    """A copy between devices, whose gradient goes the other way."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, world: World, there: bool, layout: dict[str, Any]) -> Tensor:
        ctx.world, ctx.there = world, there
        return world.cloned(tensor, there, layout)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        if ctx.there:
            ctx.world.counts.sync("copy to the host")
        return ctx.world.cloned(gradients[0], not ctx.there, {}), None, None, None
