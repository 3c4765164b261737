"""Copies of a network's structure, many times faster than making it anew."""

import copy
from collections import OrderedDict
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)
TENSORS = ("_parameters", "_buffers")
SIMPLE = (int, float, str, bool, type, type(None), torch.dtype, torch.Size)  # What a copy may share.
CONTAINERS = (OrderedDict, dict, list, set)


class _NotSimpleError(Exception):
    """A module holds what only ``copy.deepcopy`` knows how to copy."""


def empty_copy(network: Module) -> Module:
    """As ``copy.deepcopy(network).to_empty(device="cpu")``: its structure, without numbers, on the CPU."""
    try:
        return _copied(network, {})
    except _NotSimpleError:
        return copy.deepcopy(network).to_empty(device="cpu")


def _copied(module: Module, made: dict[int, Any]) -> Module:
    """``made``: the copies of modules and tensors so far, by the identity of what they copy."""
    if id(module) in made:
        known: Module = made[id(module)]
        return known
    own = made[id(module)] = object.__new__(type(module))
    for name, value in vars(module).items():
        if name == "_modules":
            taken: Any = {key: None if each is None else _copied(each, made) for key, each in value.items()}
        elif name in TENSORS:
            taken = {key: None if each is None else _empty(each, made) for key, each in value.items()}
        else:
            taken = _shared(value)
        own.__dict__[name] = taken
    return own


def _empty(tensor: Tensor, made: dict[int, Any]) -> Tensor:
    if id(tensor) not in made:
        if type(tensor) not in (Tensor, nn.Parameter):
            raise _NotSimpleError
        empty = torch.empty(tensor.shape, dtype=tensor.dtype)
        made[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    copied: Tensor = made[id(tensor)]
    return copied


def _shared(value: Any) -> Any:
    """The value itself where nobody can change it, and a new empty container for an empty one."""
    if isinstance(value, SIMPLE) or (isinstance(value, tuple) and all(isinstance(each, SIMPLE) for each in value)):
        return value
    if type(value) in CONTAINERS and not value:
        return type(value)()
    raise _NotSimpleError
