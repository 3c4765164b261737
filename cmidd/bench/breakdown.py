"""The shares of a step's time: data, augmentation, regulariser, backward passes, and the rest."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch

from cmidd.compute.devices import synchronise
from cmidd.core.regularizer import Regularizer
from cmidd.data.augmentation import Augmentation, Plan, Transform
from cmidd.data.dataset import Dataset

PARTS = ("data", "augmentation", "regulariser", "backward")
# One within another counts once: a siamese augmentation draws, plans and applies.
CALLS: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("data", Dataset, ("class_batches", "distinct_class_batches", "cycled_class_batches", "cycled_batch")),
    ("data", Dataset, ("drawn", "take", "at")),
    ("augmentation", Augmentation, ("siamese", "per_class", "per_image")),
    ("augmentation", Transform, ("plan", "__call__")),
    ("augmentation", Plan, ("__call__",)),
    ("backward", torch.Tensor, ("backward",)),
    ("backward", torch.autograd, ("grad",)),
)


class Shares:
    """How the time of a block divides: seconds in calls of each part, less those of other parts within them.

    What ``device`` was given before and in a call is waited for, so that its time is its own part's; the block as a
    whole takes longer so where work would be queued.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[list[float]] = []
        self._patches = contextlib.ExitStack()

    def __enter__(self) -> "Shares":
        terms = [("regulariser", kind, ("__call__",)) for kind in _imported(Regularizer)]
        for part, owner, names in (*CALLS, *terms):
            for name in names:
                self._patches.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def of(self, total: float) -> dict[str, float]:
        """The share of each part in ``total`` seconds, and the ``rest``: forward passes and Python."""
        shares = {part: self.seconds[part] / total for part in PARTS}
        return {**shares, "rest": 1 - sum(shares.values())}

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._stack.append([0.0])
            synchronise(self.device)
            began = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                synchronise(self.device)
                took = time.perf_counter() - began
                (within,) = self._stack.pop()
                self.seconds[part] += took - within
                if self._stack:
                    self._stack[-1][0] += took

        return call


def _imported(kind: type[Any]) -> Iterator[type[Any]]:
    """All subclasses that are there: a regulariser that a method was built with is."""
    for own in kind.__subclasses__():
        yield own
        yield from _imported(own)
