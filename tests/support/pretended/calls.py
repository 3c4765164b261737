"""The function mode of a pretended device, which sees calls from Python.

It answers what device a tensor is on, moves tensors, and makes new ones on the device.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from tests.support.pretended.world import World, WrongDevice

# What a program calls to make a tensor; torch's own code makes others, which lie where their operands do.
FACTORIES = {
    *(torch.zeros, torch.ones, torch.empty, torch.full, torch.eye, torch.arange, torch.linspace, torch.empty_strided),
    *(torch.tensor, torch.as_tensor, torch.from_numpy, torch.scalar_tensor),
    *(torch.rand, torch.randn, torch.randint, torch.randperm),
}
COPYING = {torch.tensor, torch.as_tensor}  # what lies on the host
LIKE = {torch.empty_like, torch.zeros_like, torch.ones_like, torch.full_like, torch.rand_like, torch.randn_like}


class Calls(TorchFunctionMode):
    """Every call from Python of one of torch's functions."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.answers: dict[Callable[..., Any], Callable[..., Any]] = {
            Tensor.device.__get__: self._device_of,
            _read("is_cuda"): lambda tensor, *_: self._device_of(tensor).type == "cuda",
            _read("is_mps"): lambda tensor, *_: self._device_of(tensor).type == "mps",
            _read("is_cpu"): lambda tensor, *_: self._device_of(tensor).type == "cpu",
            Tensor.get_device: lambda tensor: 0 if self._is_there(tensor) else -1,
            Tensor.to: self._to,
            Tensor.cpu: lambda tensor, **options: self._move(tensor, False, None, False, **options),
            Tensor.cuda: lambda tensor, _=None, non_blocking=False: self._move(tensor, True, None, False, non_blocking),
            Tensor.pin_memory: lambda tensor, *_: self._pin(tensor.clone()),
            Tensor.is_pinned: lambda tensor, *_: tensor in world.pinned,
            Tensor.tolist: self._tolist,
            Tensor.numpy: self._numpy,
            Tensor.__array__: self._array,
            Tensor.__deepcopy__: self._deepcopy,
            Tensor.new_tensor: self._new_tensor,
        }

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in self.answers:
            return self.answers[func](*args, **kwargs)
        if kwargs.get("pin_memory"):
            return self._pin(self._asked(func, args, {**kwargs, "pin_memory": False}))
        device = None if kwargs.get("device") is None else torch.device(kwargs["device"])
        if device is not None and self.world.is_there(device):
            return self._made_there(func, args, kwargs)
        if func in LIKE and device is not None and device.type == "cpu" and self._is_there(args[0]):
            raise NotImplementedError(f"{func.__name__} of a tensor of the device on the CPU")
        return self._asked(func, args, kwargs) if func in FACTORIES else func(*args, **kwargs)

    def _asked(self, func: Any, args: Any, kwargs: Any) -> Any:
        before, self.world.asked = self.world.asked, True
        try:
            return func(*args, **kwargs)
        finally:
            self.world.asked = before

    def _made_there(self, func: Any, args: Any, kwargs: Any) -> Any:
        generator = kwargs.get("generator")
        if generator is not None and generator not in self.world.generators:
            raise WrongDevice(f"{func}: Expected a '{self.world.device.type}' device type for generator, found 'cpu'")
        if func is torch.as_tensor and isinstance(args[0], Tensor):
            return self._to(args[0], self.world.device, kwargs.get("dtype"))
        result = self._asked(func, args, {**kwargs, "device": "cpu"})
        if func in COPYING:
            self.world.counts.sync("copy to the device")
        self.world.counts.launched[getattr(func, "__name__", str(func))] += 1
        for tensor in tree_leaves(result):
            self.world.put(tensor)
        return result

    def _is_there(self, tensor: Tensor) -> bool:
        return not tensor.is_meta and tensor in self.world.on_device

    def _device_of(self, tensor: Tensor, *_: Any) -> torch.device:
        found: torch.device = Tensor.device.__get__(tensor)
        return self.world.device if found.type == "cpu" and self._is_there(tensor) else found

    def _to(self, tensor: Tensor, *given: Any, **options: Any) -> Tensor:
        device, dtype = options.pop("device", None), options.pop("dtype", None)
        flags = [value for value in given if isinstance(value, bool)]  # non_blocking, copy
        for value in (*given, options.pop("other", None)):
            if isinstance(value, Tensor):
                device, dtype = self._device_of(value), value.dtype
            elif isinstance(value, torch.dtype):
                dtype = value
            elif isinstance(value, (torch.device, str)):
                device = value
        device = self._device_of(tensor) if device is None else torch.device(device)
        if tensor.is_meta or device.type == "meta":
            return tensor.to(device, dtype=dtype)
        non_blocking, copy = (*flags, False, False)[:2]
        copy, non_blocking = options.pop("copy", copy), options.pop("non_blocking", non_blocking)
        return self._move(tensor, self.world.is_there(device), dtype, copy, non_blocking, **options)

    def _move(
        self,
        tensor: Tensor,
        there: bool,
        dtype: torch.dtype | None,
        copy: bool,
        non_blocking: bool = False,
        **layout: Any,
    ) -> Tensor:
        is_there = self._is_there(tensor)
        if is_there == there:
            return tensor.to(dtype=dtype or tensor.dtype, copy=copy, **layout)
        if dtype is not None and dtype != tensor.dtype:
            pinned = tensor in self.world.pinned
            tensor = tensor.to(dtype=dtype)
            if pinned:
                self.world.pinned.add(tensor)
        return self.world.moved(tensor, there=there, non_blocking=non_blocking, **layout)

    def _pin(self, tensor: Tensor) -> Tensor:
        if self.world.device.type == "mps":
            raise RuntimeError("Cannot pin memory: there is none on MPS")
        if self._is_there(tensor):
            raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")
        self.world.pinned.add(tensor)
        return tensor

    def _tolist(self, tensor: Tensor) -> Any:
        if self._is_there(tensor):
            self.world.counts.sync("tolist")
            return self.world.cloned(tensor, False, {}).tolist()
        return tensor.tolist()

    def _numpy(self, tensor: Tensor, **options: Any) -> Any:
        return self._refuse_numpy(tensor).numpy(**options)

    def _array(self, tensor: Tensor, *given: Any, **options: Any) -> Any:
        return self._refuse_numpy(tensor).__array__(*given, **options)

    def _refuse_numpy(self, tensor: Tensor) -> Tensor:
        if self._is_there(tensor):
            raise TypeError(
                f"can't convert {self.world.device} device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
                "to host memory first."
            )
        return tensor

    def _deepcopy(self, tensor: Tensor, memo: dict[int, Any]) -> Tensor:
        copy: Tensor = tensor.__deepcopy__(memo)
        return self.world.put(copy) if self._is_there(tensor) else copy

    def _new_tensor(self, tensor: Tensor, *given: Any, **options: Any) -> Tensor:
        if not self._is_there(tensor):
            return self._asked(Tensor.new_tensor, (tensor, *given), options)
        self.world.counts.sync("copy to the device")
        return self.world.put(tensor.new_tensor(*given, **options))


def _read(name: str) -> Callable[..., Any]:
    """What the mode is given as the function where an attribute of a tensor is read."""
    return getattr(Tensor, name).__get__
