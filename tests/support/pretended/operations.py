"""The dispatch mode of a pretended device, which sees every operation, from C++ and in backward passes too.

It refuses devices that do not go together, counts, and labels results.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.pretended.world import World, WrongDevice

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default, aten._foreach_copy_.default}
INDEXING = {
    aten.index.Tensor,
    aten._unsafe_index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
    aten._unsafe_index_put.default,
}
# A number that lies on the CPU may be an operand beside tensors of a GPU: of pointwise operations, and of these.
TAKE_NUMBERS = {aten.fill_.Tensor, aten.masked_fill.Tensor, aten.masked_fill_.Tensor, *INDEXING}
# How often CUDA's kernels wait: the size of their result, or a check, depends on values.
WAITING = {
    aten._local_scalar_dense.default: 1,
    aten.nonzero.default: 1,
    aten.masked_select.default: 1,
    aten.bincount.default: 2,
    aten._unique2.default: 1,
    aten.unique_dim.default: 1,
    aten.unique_consecutive.default: 1,
    aten.equal.default: 1,
    aten.repeat_interleave.Tensor: 1,
    aten._linalg_eigh.default: 1,
}
LAUNCH_NOTHING = {
    aten._local_scalar_dense.default,
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.new_empty.default,
    aten.empty_strided.default,
    aten.new_empty_strided.default,
    aten.lift_fresh.default,
    aten._unsafe_view.default,
}


class Operations(TorchDispatchMode):
    """Every operation, computed for real."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, world = kwargs or {}, self.world
        if world.moving:
            return func(*args, **kwargs)
        tensors = list(_tensors((*args, *kwargs.values())))
        there = [tensor in world.on_device for tensor in tensors]
        if not any(there):
            result = func(*args, **kwargs)
            made_inside = not tensors and not world.asked
            if made_inside or any(tensor in world.anywhere for tensor in tensors):
                for tensor in _tensors((result,)):
                    world.anywhere.add(tensor)
            return result
        for number, tensor in enumerate(tensors):
            if not there[number] and tensor in world.anywhere:
                world.put(tensor)
                there[number] = True
        if not all(there):
            self._refuse_mixture(func, tensors, there)
        generator = kwargs.get("generator")
        if generator is not None and generator not in world.generators:
            raise WrongDevice(f"{func}: Expected a '{world.device.type}' device type for generator but found 'cpu'")
        result = func(*args, **kwargs)
        self._count(func, args, kwargs, tensors, there)
        if not (func is aten.copy_.default and not there[0]):
            for tensor in _tensors((result,)):
                world.put(tensor)
        return result

    def _refuse_mixture(self, func: Any, tensors: list[Tensor], there: list[bool]) -> None:
        """Raises WrongDevice where a GPU would refuse these tensors, of which some lie on the CPU."""
        if func in COPIES:
            return
        written = func._schema.is_mutable and not there[0]
        elsewhere = [tensor for tensor, on_device in zip(tensors, there, strict=True) if not on_device]
        numbers = func in TAKE_NUMBERS or torch.Tag.pointwise in func.tags
        if func in INDEXING:  # Indices may lie on the CPU, but not index what does.
            elsewhere = [tensor for tensor in elsewhere if tensor.is_floating_point()]
            written = not there[0]
        if written or not all(numbers and tensor.dim() == 0 for tensor in elsewhere):
            found = [(tuple(t.shape), "device" if on else "cpu") for t, on in zip(tensors, there, strict=True)]
            raise WrongDevice(f"{func}: Expected all tensors to be on the same device, found {found}")

    def _count(self, func: Any, args: Any, kwargs: Any, tensors: list[Tensor], there: list[bool]) -> None:
        counts = self.world.counts
        if func is aten.copy_.default and there[0] != there[1]:
            non_blocking = bool(kwargs.get("non_blocking", args[2] if len(args) > 2 else False))
            host = tensors[1] if there[0] else tensors[0]
            if not self.world.is_host_copy_free(host, non_blocking):
                counts.sync("copy to the device" if there[0] else "copy to the host")
            return
        if func in WAITING:
            counts.sync(func._schema.name.removeprefix("aten::"), WAITING[func])
        if func in INDEXING:
            if any(index.dtype in (torch.bool, torch.uint8) for index in _tensors((args[1],))):
                counts.sync("boolean mask")
            if not all(there):
                counts.sync("indices on the CPU")
        if func not in LAUNCH_NOTHING and not _is_view(func):
            counts.launched[str(func)] += 1


def _tensors(values: Any) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _is_view(func: Any) -> bool:
    return any(made.alias_info is not None and not made.alias_info.is_write for made in func._schema.returns)
