"""K-means, and the points nearest to its centres."""

import torch
from torch import Tensor


def nearest_to_centres(points: Tensor, count: int, generator: torch.Generator, rounds: int) -> Tensor:
    """Indices ``[min(count, N)]`` of the points ``[N, D]`` nearest to the centres of k-means, one of each cluster.

    A cluster that has lost all its points gives the nearest point of another.
    """
    centres, distances = centres_of(points, count, generator, rounds)
    member = distances.argmin(1)[:, None] == torch.arange(len(centres), device=points.device)
    return (distances + ~member * (1 + distances.max())).argmin(0)


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
        sizes = cluster.bincount(minlength=len(centres))[:, None]
        sums = torch.zeros_like(centres).index_add(0, cluster, points)
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
    return centres, torch.cdist(points, centres)
