"""The interface of a sampler: the choice of real images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from cmidd.data.dataset import Dataset
from cmidd.data.split import Split
from cmidd.networks import Network
from cmidd.utils.random_streams import Streams


class Sampler(ABC):
    """Chooses images of ``data``: its keyword-only arguments are its settings.

    Attributes:
        needs: what the method must give (:attr:`cmidd.core.method.Method.gives`).
    """

    needs: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def __init__(self, data: Dataset, **settings: Any) -> None: ...

    @abstractmethod
    def first(
        self,
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
