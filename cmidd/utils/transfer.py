"""Copies from the CPU to the device of a run, which the host does not wait for.

A copy of ordinary memory to a GPU waits until the GPU has done what it was given before; one of pinned memory does not.
So what a step draws (on the CPU, to be the same on every device) goes through here, several tensors in one copy.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNED = 256  # bytes: kernels load what begins there as fast as tensors of their own


def to_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """CPU tensors on ``device``: themselves where that is the CPU, else parts of one new tensor there."""
    if device.type == "cpu" or not tensors:
        return list(tensors)
    if device.type != "cuda":  # A Mac's GPU may read what is not waited for when it is gone (torch's issue 189690).
        return [tensor.to(device) for tensor in tensors]
    ends = [0]
    for tensor in tensors:
        ends.append(ends[-1] + -(-tensor.nbytes // ALIGNED) * ALIGNED)
    # Torch keeps the pinned memory of a tensor that is gone until the copies from it are done.
    pinned = torch.empty(ends[-1], dtype=torch.uint8, pin_memory=True)
    for tensor, part in zip(tensors, _parts(pinned, tensors, ends), strict=True):
        part.copy_(tensor)
    return _parts(pinned.to(device, non_blocking=True), tensors, ends)


def normal_numbers(shape: Sequence[int], generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers of ``shape`` on ``device``, float32.

    On a CUDA device they are drawn there, from the seed of ``generator``, so they are others than on a CPU: for what is
    drawn by the million the host would take many times what the device takes for all else. Elsewhere ``generator``
    (of the CPU) draws them.
    """
    if device.type != "cuda":
        return to_device([torch.randn(*shape, generator=generator)], device)[0]
    there = torch.Generator(device).manual_seed(generator.initial_seed())
    return torch.randn(*shape, generator=there, device=device)


def _parts(memory: Tensor, like: Sequence[Tensor], starts: Sequence[int]) -> list[Tensor]:
    """Views of ``memory`` (bytes) from ``starts`` on, in the shapes and types of some tensors."""
    return [
        memory[start : start + tensor.nbytes].view(tensor.dtype).view(tensor.shape)
        for tensor, start in zip(like, starts, strict=False)
    ]
