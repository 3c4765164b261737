"""What a sampler is asked for, and the one that draws at random."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from cmidd.data import Dataset
from cmidd.networks import Network
from cmidd.sources import Split
from cmidd.streams import Streams


class Sampler(ABC):
    """Chooses real images: its keyword arguments are the settings of ``configs/sampler/<name>.yaml``.

    Attributes:
        needs: what the objective must have (:attr:`cmidd.objectives.base.Objective.gives`).
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def __init__(self, **settings: Any) -> None: ...

    @abstractmethod
    def first(
        self,
        data: Dataset,
        size: int,
        count: int,
        generator: torch.Generator,
        new_network: Callable[[torch.Generator], Network],
        distinct: bool = False,
    ) -> list[Split]:
        """What the synthetic set starts from: ``count`` batches of ``size`` distinct images of every class in order.

        Args:
            distinct: as far as a class has enough images, none stands in two batches.
        """

    @abstractmethod
    def batch(
        self,
        data: Dataset,
        size: int,
        network: Network,
        streams: Streams,
        counters: Sequence[int],
        cycle: int | None = None,
    ) -> Split:
        """``size`` images of every class, classes in order, to match in ``network`` at a step.

        Args:
            counters: the iteration, and where it has several steps the step within it, in the same network.
            cycle: the number of the batch where the method by itself goes through shuffled classes (IDC).
        """

    def state(self) -> dict[str, Tensor]:
        """What the sampler remembers from one step to the next, for the checkpoint."""
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027 (most remember nothing)
        """Go on from :meth:`state`."""


class RandomSampler(Sampler):
    """Draws at random, as every method does by itself."""

    def __init__(self) -> None: ...

    def first(
        self,
        data: Dataset,
        size: int,
        count: int,
        generator: torch.Generator,
        new_network: Callable[[torch.Generator], Network],
        distinct: bool = False,
    ) -> list[Split]:
        if distinct:
            return data.distinct_class_batches(size, count, generator)
        return [data.class_batches(size, generator) for _ in range(count)]

    def batch(
        self,
        data: Dataset,
        size: int,
        network: Network,
        streams: Streams,
        counters: Sequence[int],
        cycle: int | None = None,
    ) -> Split:
        if cycle is not None:
            return data.cycled_class_batches(size, cycle, streams)
        return data.class_batches(size, streams("real", *counters))
