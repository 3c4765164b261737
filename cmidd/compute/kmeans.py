"""K-means, and the points nearest to its centres."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmidd.utils.transfer import to_device

LOOKS = (10, 30, 90)  # rounds after which a GPU is asked whether all groups have settled


def nearest_to_centres(points: Tensor, count: int, generator: torch.Generator, rounds: int) -> Tensor:
    """Indices ``[min(count, N)]`` of the points ``[N, D]`` nearest to the centres of k-means, one of each cluster.

    A cluster that has lost all its points gives the nearest point of another.
    """
    return _nearest(centres_of(points, count, generator, rounds)[1])


def nearest_in_each(
    points: Tensor, groups: Sequence[Tensor], count: int, generator: torch.Generator, rounds: int
) -> list[Tensor]:
    """:func:`nearest_to_centres` in each group of ``points`` ``[N, D]``: indices into the group, on the CPU.

    Args:
        groups: the indices of each group's points, on the CPU.
    """
    if points.device.type == "cpu":
        return [nearest_to_centres(points[own], count, generator, rounds) for own in groups]
    starts = [torch.randperm(len(own), generator=generator)[:count] for own in groups]
    there = to_device([*groups, *(own[start] for own, start in zip(groups, starts, strict=True))], points.device)
    members, centres = there[: len(groups)], [points[start] for start in there[len(groups) :]]
    clusters: list[Tensor] = []
    for done in range(1, rounds + 1):
        before, clusters = clusters, []
        for number, own in enumerate(members):
            clusters.append(torch.cdist(points[own], centres[number]).argmin(1))
            centres[number] = _means(points[own], clusters[-1], centres[number])
        # To look is to wait for the device, and a round that changes nothing does no harm.
        if done in LOOKS and torch.stack([(a == b).all() for a, b in zip(before, clusters, strict=True)]).all():
            break
    chosen = [_nearest(torch.cdist(points[own], centre)) for own, centre in zip(members, centres, strict=True)]
    return list(torch.cat(chosen).cpu().split([len(each) for each in chosen]))


def centres_of(points: Tensor, count: int, generator: torch.Generator, rounds: int) -> tuple[Tensor, Tensor]:
    """The centres ``[min(count, N), D]`` of the points ``[N, D]`` by k-means, and the distance of each point to each.

    Lloyd's algorithm from random points, for at most ``rounds``, on the points' device: with a GPU's embeddings of a
    whole training set, copying them to a library on the CPU takes longer than the clustering.
    """
    start = torch.randperm(len(points), generator=generator)[:count]
    centres = points[start.to(points.device)]
    cluster: Tensor | None = None
    for _ in range(rounds):
        before, cluster = cluster, torch.cdist(points, centres).argmin(1)
        if before is not None and torch.equal(before, cluster):
            break
        centres = _means(points, cluster, centres)
    return centres, torch.cdist(points, centres)


def _means(points: Tensor, cluster: Tensor, centres: Tensor) -> Tensor:
    """The mean of the points of each cluster; of one without points, where its centre was."""
    sizes = cluster.new_zeros(len(centres)).index_add(0, cluster, torch.ones_like(cluster))[:, None]
    sums = torch.zeros_like(centres).index_add(0, cluster, points)
    return torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)


def _nearest(distances: Tensor) -> Tensor:
    """The nearest point to each centre, of its cluster where that has any; from distances ``[N, centres]``."""
    member = distances.argmin(1)[:, None] == torch.arange(distances.shape[1], device=distances.device)
    return (distances + ~member * (1 + distances.max())).argmin(0)
