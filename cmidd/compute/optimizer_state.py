"""What an optimiser remembers of a parameter, as checkpoints keep it."""

from collections.abc import Mapping

import torch
from torch import Tensor

_TORCHS = {"momentum": "momentum_buffer"}  # Torch's names of what files call otherwise.
_FILES = {theirs: ours for ours, theirs in _TORCHS.items()}


def remembered(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    """Every tensor that ``optimizer`` remembers of ``parameter``, by the name that files have for it.

    Nothing before its first step, and of SGD without momentum.
    """
    state = optimizer.state.get(parameter, {})
    return {_FILES.get(name, name): value for name, value in state.items() if isinstance(value, Tensor)}


def restore(optimizer: torch.optim.Optimizer, parameter: Tensor, tensors: Mapping[str, Tensor]) -> None:
    """Have ``optimizer`` remember of ``parameter`` what another one did, as :func:`remembered` says it.

    The tensors are copied to the parameter's device, but for the count of ``step``, which Adam keeps on the CPU.
    """
    for name, value in tensors.items():
        device = value.device if name == "step" else parameter.device
        optimizer.state[parameter][_TORCHS.get(name, name)] = value.to(device, copy=True)
