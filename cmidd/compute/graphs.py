"""CUDA graphs of functions of tensors: what the host launches once and the card repeats by itself.

A step of a small network is a hundred kernels, each of which costs the host 40 to 60 microseconds (results/evidence/
gpu.md); replayed as a graph they cost it one launch together. Used where the engine says ``graphs`` and the tensors are
on a CUDA device; elsewhere a function is just called.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cmidd.compute.engine import current

WARM_UPS = 3  # What torch's notes on CUDA graphs ask for: libraries choose their kernels in the first calls.
MOST_SHAPES = 2  # A full batch and the smaller last one; each graph holds the memory of a step.

Function = Callable[..., tuple[Tensor, ...]]


def graphed(device: torch.device) -> bool:
    """Whether functions of tensors on ``device`` are replayed as graphs, as the engine in force says."""
    return current().graphs and device.type == "cuda"


class Graphed:
    """A function of tensors, captured at the first inputs of a shape and replayed on the next ones.

    Inputs are copied to where the graph reads them; what is returned stands where the graph writes it, and holds until
    the next call. Numbers that are no tensors are those of the capture, so the function may depend on none that change.
    Other shapes than the first :data:`MOST_SHAPES` are computed without a graph.

    Args:
        function: of tensors (or None); its results are new tensors.
        changes: tensors that it changes in place beside, as they are at each call.
    """

    def __init__(self, function: Function, changes: Sequence[Tensor] = ()) -> None:
        self.function, self.changes = function, changes
        self._captured: dict[tuple[tuple[torch.Size, torch.dtype] | None, ...], _Captured] = {}

    def __call__(self, *inputs: Tensor | None) -> tuple[Tensor, ...]:
        device = next(each.device for each in inputs if each is not None)
        if not graphed(device):
            return self.function(*inputs)
        shapes = tuple(None if each is None else (each.shape, each.dtype) for each in inputs)
        if shapes not in self._captured:
            if len(self._captured) == MOST_SHAPES:
                return self.function(*inputs)
            self._captured[shapes] = _captured(self.function, inputs, self.changes)
        return self._captured[shapes](inputs)


@dataclass(frozen=True)
class _Captured:
    graph: "torch.cuda.CUDAGraph"
    inputs: list[Tensor | None]
    outputs: tuple[Tensor, ...]

    def __call__(self, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
        for own, given in zip(self.inputs, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given.detach())
        self.graph.replay()
        return self.outputs


def _captured(function: Function, inputs: Sequence[Tensor | None], changes: Sequence[Tensor]) -> _Captured:
    """Warm up on a stream beside, as torch's notes on CUDA graphs ask for, and capture."""
    own = [None if each is None else each.detach().clone() for each in inputs]
    before = [each.clone() for each in changes]
    graph = torch.cuda.CUDAGraph()
    # A stream is of torch's current device, and sees nothing of what is computed on another (device=cuda:1).
    with torch.cuda.device(next(each.device for each in own if each is not None)):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                function(*own)
        torch.cuda.current_stream().wait_stream(stream)
        # Another thread may load the next images meanwhile: only what this one does must be capturable.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            outputs = function(*own)
    for each, value in zip(changes, before, strict=True):
        each.copy_(value)
    return _Captured(graph, own, outputs)
