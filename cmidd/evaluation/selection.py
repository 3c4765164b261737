"""The tests of one network while it trains, and which of them counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tests:
    """The accuracies of one network at equal distances of its training, the last at its end, in per cent.

    Attributes:
        tested: on the test set.
        held_out: at the same moments on a held-out part of the training set; empty where nothing is chosen by it.
    """

    __test__ = False  # pytest looks for classes of this name

    tested: list[float]
    held_out: list[float]

    @classmethod
    def of(cls, values: Sequence[float], tests: int) -> "Tests":
        """From the numbers in one row, as they are kept."""
        return cls(list(values[:tests]), list(values[tests:]))

    @property
    def figure(self) -> float:
        """What counts: the last test, or the first of those that are best on the held-out part."""
        if not self.held_out:
            return self.tested[-1]
        return self.tested[self.held_out.index(max(self.held_out))]

    @property
    def best(self) -> float:
        """The best test, picked on the test set: no measure of a method."""
        return max(self.tested)


def moments(passes: int, tests: int) -> list[int]:
    """After how many of ``passes`` over the images a network is tested ahead of its end, of at most so many tests."""
    return [math.ceil(passes * number / tests) for number in range(1, tests)]
