"""A stand-in for CUDA's graphs on the CPU: captured are the operations, on the very tensors they were called on.

A replay calls them again on these tensors and writes where they wrote, so whatever a graph would not see is not seen
here: numbers that changed since, tensors that were put in the place of others, branches that Python would take
otherwise, what is computed on another device than the captured stream's.
"""

import contextlib
from types import SimpleNamespace
from typing import ClassVar

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from cmidd.compute import backward, embeddings, engine, graphs


class Graph:
    """As ``torch.cuda.CUDAGraph``.

    Attributes:
        made: all of them.
        replays: how often this one was replayed.
    """

    made: ClassVar[list["Graph"]] = []

    def __init__(self):
        self.calls, self.replays = [], 0
        self.made.append(self)

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for function, arguments, named, before in self.calls:
            after = function(*_aliases(arguments), **_aliases(named))
            for old, new in zip(tree_leaves(before), tree_leaves(after), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class _Capture(TorchDispatchMode):
    def __init__(self, graph, computing, stream):
        super().__init__()
        self.graph, self.seen = graph, stream.number == computing

    def __torch_dispatch__(self, function, types, arguments=(), named=None):
        if not self.seen:
            return function(*arguments, **(named or {}))
        taken = _aliases(arguments), _aliases(named or {})
        outcome = function(*arguments, **(named or {}))
        self.graph.calls.append((function, *taken, _aliases(outcome)))
        return outcome


def _aliases(values):
    """The same memory in the shapes of now, which ``unsqueeze_`` and its like may change later."""
    return tree_map_only(torch.Tensor, torch.Tensor.detach, values)


def stand_in(monkeypatch, computing=0):
    """Have graphs captured and replayed on the CPU where the engine says ``graphs``; returns all that are made.

    Args:
        computing: the number of the device that everything is computed on, which need not be torch's current one.
    """
    current = [0]

    @contextlib.contextmanager
    def device(which):
        current.append(torch.device(which).index or 0)
        yield
        current.pop()

    def stream(which=None):
        return SimpleNamespace(wait_stream=lambda _: None, number=current[-1] if which is None else which.index)

    def capture(graph, *, stream=None, capture_error_mode):
        return _Capture(graph, computing, stream or SimpleNamespace(number=0))  # Torch makes one for all captures.

    monkeypatch.setattr(Graph, "made", [])
    for name, value in {
        "CUDAGraph": Graph,
        "device": device,
        "graph": capture,
        "Stream": stream,
        "current_stream": stream,
        "stream": lambda _: contextlib.nullcontext(),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    for module in (graphs, backward, embeddings):
        monkeypatch.setattr(module, "graphed", lambda _: engine.current().graphs)
    return Graph.made
