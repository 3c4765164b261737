"""DREAM, representative real images (Liu et al., ICCV 2023).

Every ``interval`` steps the training images of each class are clustered by k-means in the embedding of the network
that is matched, and the image nearest to each centre is matched until the next time. The synthetic set starts from
such images in a random network. Each time costs a forward of the whole training set and k-means of every class.

Source: DREAM/condense.py:526-568, 621-633, new_strategy.py:17-29. There the network sees pixels in [0, 1] that it was
not trained on; here it sees its own input space. There two centres may share an image; here a cluster gives a member.
Its k-means (fast_pytorch_kmeans) ends after 100 rounds, or where the centres move by 1e-4 in all (summed squares); here
``rounds`` is 100 too, or none are left where no image changes its cluster. There a cluster without images moves to the
origin; here it stays.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from cmidd.compute.embeddings import embed_real
from cmidd.compute.kmeans import nearest_in_each
from cmidd.core.sampler import Sampler
from cmidd.data.dataset import Dataset
from cmidd.data.split import Split
from cmidd.networks import Network
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Count


class DREAM(Sampler):
    """The sampler.

    Args:
        interval: steps between two choices, counted within an iteration where it has several (IDC, DSA). Where every
            iteration has a network of its own (DM, IDM), images chosen in one network are matched in the next ones.
        rounds: of k-means, at most. Earlier versions took the 20 that hold where nothing is said.
    """

    needs = frozenset({"real"})

    def __init__(self, data: Dataset, *, interval: Count, rounds: Count = 20) -> None:
        self.data, self.interval, self.rounds = data, interval, rounds
        self.chosen: Tensor | None = None

    def first(
        self,
        size: int,
        count: int,
        generator: torch.Generator,
        new_network: Callable[[torch.Generator], Network],
        distinct: bool = False,
    ) -> list[Split]:
        smallest = min(len(members) for members in self.data.class_members)
        if size * count > smallest and not self.data.fill:
            raise SettingError(
                f"sampler=dream: starts from {size * count} images of every class, {self.data.name} has a class of "
                f"{smallest}; choose a smaller ipc, a smaller method.formation.factor, method.init=noise, "
                "or dataset.fill=repeat, which takes some of them again"
            )
        chosen = representatives(self.data, size * count, new_network(generator), generator, self.rounds)
        runs = [[own[number * size : (number + 1) * size] for own in chosen] for number in range(count)]
        return [self.data.take(torch.cat(run)) for run in runs]

    def batch(
        self,
        size: int,
        network: Network,
        streams: Streams,
        counters: Sequence[int],
        cycle: int | None = None,
    ) -> Split:
        if counters[-1] % self.interval == 0:
            self.chosen = torch.cat(representatives(self.data, size, network, streams("dream", *counters), self.rounds))
        assert self.chosen is not None
        return self.data.take(self.chosen)

    def state(self) -> dict[str, Tensor]:
        return {} if self.chosen is None else {"chosen": self.chosen}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        self.chosen = tensors.get("chosen")


def representatives(
    data: Dataset, size: int, network: Network, generator: torch.Generator, rounds: int
) -> list[Tensor]:
    """For every class the indices of ``size`` training images, each the nearest to the centre of its cluster; of a
    smaller class all, with ``fill`` some of them again.
    """
    embedded = embed_real(network, data.train)
    nearest = nearest_in_each(embedded, data.class_members, size, generator, rounds)
    return [members[data.first(own, size)] for members, own in zip(data.class_members, nearest, strict=True)]
