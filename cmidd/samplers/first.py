"""The first real images of every class, in the order of the data set, as NCFM's published code takes them
(its loader is asked for the first 1,024 of a class each time).
"""

from collections.abc import Callable, Sequence

import torch

from cmidd.core.sampler import Sampler
from cmidd.data.dataset import Dataset
from cmidd.data.split import Split
from cmidd.networks import Network
from cmidd.utils.random_streams import Streams


class First(Sampler):
    """Takes the same images in every step, and in every run: only networks and augmentation differ."""

    def __init__(self, data: Dataset) -> None:
        self.data = data

    def first(
        self,
        size: int,
        count: int,
        generator: torch.Generator,
        new_network: Callable[[torch.Generator], Network],
        distinct: bool = False,
    ) -> list[Split]:
        return [self._from(number * size if distinct else 0, size) for number in range(count)]

    def batch(
        self,
        size: int,
        network: Network,
        streams: Streams,
        counters: Sequence[int],
        cycle: int | None = None,
    ) -> Split:
        return self._from(0, size)

    def _from(self, begin: int, size: int) -> Split:
        """``size`` images of every class from the one of number ``begin``; where a class ends, its first ones again."""
        chosen = []
        for members in self.data.class_members:
            at = begin % max(1, len(members))
            chosen.append(self.data.first(torch.cat([members[at:], members[:at]]), size))
        return self.data.take(torch.cat(chosen))
