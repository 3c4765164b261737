"""Coresets: the rules by which images of one class are chosen from their features.

Each rule gives the indices ``[min(count, N)]`` of the images that it takes, no image twice, in the order in which it
takes them.
"""

import torch
from torch import Tensor

from cmidd.compute.kmeans import centres_of

ROUNDS = 100  # of k-means, at most; sampler=dream has as many


def herding(features: Tensor, count: int) -> Tensor:
    """The images whose mean stays nearest to that of the class: after k of them, with sum s, the one of those left of
    which the features ``[N, D]`` are nearest to ``(k + 1) * mean - s`` (IDC coreset.py:134-162).

    DeepCore (methods/herding.py:80-84) takes the farthest instead; that is a slip, and not done here.
    """
    centred = features - features.mean(0)  # With these, what is to be nearest is minus the sum of those chosen.
    left, total = _all_left(features), torch.zeros_like(centred[0])
    chosen = []
    for _ in range(min(count, len(features))):
        nearest = _squares(centred + total).where(left, torch.inf).argmin()
        left[nearest] = False
        total = total + centred[nearest]
        chosen.append(nearest)
    return torch.stack(chosen)


def k_centre(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A random image, and from then on the one whose features ``[N, D]`` are farthest from their nearest among the
    chosen (CORE kcentergreedy.py:33-64).
    """
    first = torch.randint(len(features), (), generator=generator).to(features.device)
    chosen, left = [first], _all_left(features)
    distances = features.new_full((len(features),), torch.inf)
    for _ in range(min(count, len(features)) - 1):
        left[chosen[-1]] = False
        distances = distances.minimum(_squares(features - features[chosen[-1]]))
        chosen.append(distances.where(left, -1.0).argmax())
    return torch.stack(chosen)


def k_means(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """For every centre of a k-means of the features ``[N, D]`` into ``count`` clusters the nearest image; where that is
    a centre's before, the nearest that is left.
    """
    left, chosen = _all_left(features), []
    for centre in centres_of(features, count, generator, ROUNDS)[0]:
        nearest = _squares(features - centre).where(left, torch.inf).argmin()
        left[nearest] = False
        chosen.append(nearest)
    return torch.stack(chosen)


def most_forgotten(forgotten: Tensor, count: int) -> Tensor:
    """The images that were forgotten most often, by how often each was ``[N]``; of equals those of lower index (CORE
    forgetting.py:70-80). An image that was never right was never forgotten, and comes last.
    """
    return forgotten.argsort(descending=True, stable=True)[:count]


def _all_left(features: Tensor) -> Tensor:
    return torch.ones(len(features), dtype=torch.bool, device=features.device)


def _squares(differences: Tensor) -> Tensor:
    """Squared lengths ``[N]`` of ``[N, D]``."""
    return differences.square().sum(1)
