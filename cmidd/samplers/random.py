"""Real images drawn at random, as every method does by itself."""

from collections.abc import Callable, Sequence

import torch

from cmidd.core.sampler import Sampler
from cmidd.data.dataset import Dataset
from cmidd.data.split import Split
from cmidd.networks import Network
from cmidd.utils.random_streams import Streams


class RandomSampler(Sampler):
    """Draws at random, as every method does by itself."""

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
        if distinct:
            return self.data.distinct_class_batches(size, count, generator)
        return [self.data.class_batches(size, generator) for _ in range(count)]

    def batch(
        self,
        size: int,
        network: Network,
        streams: Streams,
        counters: Sequence[int],
        cycle: int | None = None,
    ) -> Split:
        if cycle is not None:
            return self.data.cycled_class_batches(size, cycle, streams)
        return self.data.class_batches(size, streams("real", *counters))
