"""Permuted classes, found in what networks confuse: a set whose labels count the classes in another order."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# A set whose networks fit it less is bad by itself.
FITTED = 75.0
# What the best matching must reach on the moved classes: this often chance, or this share of the way from chance to all
# where that is less.
TIMES_CHANCE, OF_THE_REST = 4.0, 0.5
# And this share of what would be right if each of these classes could be called what it is called most often. Networks
# call noise by few classes, so that no matching keeps it: on the digits 0.17 to 0.69 of it for noise and for one grey a
# class, 0.93 to 1 for permuted sets that are worth something (60 per cent and more, one or ten images a class).
KEPT = 0.85
MOST_NAMED = 10  # moved classes in a line


@dataclass
class Confusion:
    """What networks that were trained on a set call the test images.

    Attributes:
        counts: ``[C, C]``, of each class (rows) how many images were called each class (columns), summed over networks.
        fitted: of each network its accuracy on the set that it was trained on, in per cent.
    """

    counts: Tensor
    fitted: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, num_classes: int) -> "Confusion":
        """Of no network yet."""
        return cls(torch.zeros(num_classes, num_classes, dtype=torch.int64))

    def add(self, labels: Tensor, predicted: Tensor, fitted: float) -> None:
        """Count one more network: labels and predictions ``[N]`` of the test images."""
        pairs = (labels * len(self.counts) + predicted).bincount(minlength=self.counts.numel())
        self.counts += pairs.reshape(self.counts.shape).cpu()
        self.fitted.append(fitted)


@dataclass(frozen=True)
class Permuted:
    """Classes that seem to be permuted.

    Attributes:
        called: for each moved class (by label) the one whose name its images were given.
        accuracy, matched: on the test set, as labelled and under the best matching of all classes, in per cent.
    """

    called: dict[int, int]
    accuracy: float
    matched: float

    def said(self, classes: Sequence[str]) -> str:
        """One line, with the first few classes by their names."""
        pairs = [f"{classes[label]} is called {classes[called]}" for label, called in self.called.items()]
        more = f", ... ({len(pairs)} in all)" if len(pairs) > MOST_NAMED else ""
        return (
            f"the classes seem to be permuted: {', '.join(pairs[:MOST_NAMED])}{more}; accuracy {self.accuracy:.1f}, "
            f"matched accuracy {self.matched:.1f}: check the order of the set's labels"
        )

    def record(self, classes: Sequence[str]) -> dict[str, Any]:
        """All of it, for JSON."""
        called = {classes[label]: classes[other] for label, other in self.called.items()}
        return {"called": called, "accuracy": self.accuracy, "matched_accuracy": self.matched}


def permuted(confusion: Confusion) -> Permuted | None:
    """The permutation that a set's labels seem to have gone through, if they do.

    The set is fitted well, and on the classes that the best matching of rows and columns moves, networks are at or
    below chance, and good under the matching. A set that is plainly bad has no such matching; one that is weak as
    well as permuted may not be found. Of two or three classes it says no more than that the other order would be right.
    """
    from scipy.optimize import linear_sum_assignment

    counts, rows = confusion.counts, torch.arange(len(confusion.counts))
    if not confusion.fitted or sum(confusion.fitted) / len(confusion.fitted) < FITTED:
        return None
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    called = torch.as_tensor(linear_sum_assignment(shares.numpy(), maximize=True)[1])
    moved = called != rows
    if not moved.any():
        return None
    chance = 1 / len(counts)
    right, matched, most = (
        float(each[moved].mean()) for each in (shares.diagonal(), shares[rows, called], shares.amax(1))
    )
    enough = min(TIMES_CHANCE * chance, chance + OF_THE_REST * (1 - chance))
    if right > chance or matched < enough or matched < KEPT * most:
        return None
    both = [100 * float(counts[rows, columns].sum()) / int(counts.sum()) for columns in (rows, called)]
    return Permuted({int(row): int(called[row]) for row in rows[moved]}, *both)
