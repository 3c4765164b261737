"""Spread between sets, spread between networks, and whether a difference is more than both."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import stats

ERRORS = 2.0  # standard errors that a difference must reach
LEVEL = (
    0.05  # that Welch's p must not exceed: with two or three sets, two standard errors come about by chance too often
)
RULE = f"a difference is inside the noise below {ERRORS:g} standard errors, or where Welch's p exceeds {LEVEL:g}"


@dataclass(frozen=True)
class Sample:
    """Accuracies (per cent) of networks by the set that they were trained on, ``sets[i][j]``."""

    sets: tuple[tuple[float, ...], ...]

    @property
    def set_means(self) -> list[float]:
        """The mean over the networks of each set."""
        return [statistics.fmean(networks) for networks in self.sets]

    @property
    def mean(self) -> float:
        """The mean of :attr:`set_means`: every set counts alike."""
        return statistics.fmean(self.set_means)

    @property
    def between_sets(self) -> float | None:
        """Sample standard deviation of :attr:`set_means`; None for a single set."""
        return statistics.stdev(self.set_means) if len(self.sets) > 1 else None

    @property
    def between_networks(self) -> float | None:
        """Sample standard deviation of the networks of one set, pooled over the sets; None for one network each."""
        several = [networks for networks in self.sets if len(networks) > 1]
        if not several:
            return None
        squares = sum((len(networks) - 1) * statistics.variance(networks) for networks in several)
        return math.sqrt(squares / sum(len(networks) - 1 for networks in several))

    @property
    def networks(self) -> str:
        """How many networks a set has: ``5``, or ``3 to 5``."""
        counts = [len(networks) for networks in self.sets]
        return str(counts[0]) if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"

    @property
    def apart(self) -> str:
        """Both spreads, each with its n: ``± 0.35 between 3 sets, ± 0.45 between 5 networks of a set``."""
        one = "1 set" if self.between_sets is None else f"± {self.between_sets:.2f} between {len(self.sets)} sets"
        within = f"{'of it' if len(self.sets) == 1 else 'of a set'}"
        if self.between_networks is None:
            return f"{one}, 1 network {within}"
        return f"{one}, ± {self.between_networks:.2f} between {self.networks} networks {within}"


@dataclass(frozen=True)
class Difference:
    """How much better one is than another, in points of accuracy.

    Attributes:
        value: the other's mean without the one's.
        standard_error, p: of the value, and of Welch's test that it is 0, both over ``over``; None where one of the two
            has a single value, which tells nothing of the noise.
        over: ``sets`` where both have several, else ``networks``: what is said then holds for these sets, and not for
            others that the same settings make.
        counts: how many values each had.
    """

    value: float
    standard_error: float | None
    p: float | None
    over: Literal["sets", "networks"]
    counts: tuple[int, int]

    @property
    def inside_noise(self) -> bool | None:
        """Whether it may well be chance (:data:`RULE`); None where nothing tells."""
        if self.standard_error is None or self.p is None:
            return None
        return abs(self.value) < ERRORS * self.standard_error or self.p > LEVEL

    @property
    def certainty(self) -> str:
        """Its standard error, over what, and p: ``standard error 0.30 over 3 and 3 sets, p = 0.01``."""
        if self.standard_error is None or self.p is None:
            return "its noise is unknown: one network"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        one, other = self.counts
        return f"standard error {self.standard_error:.2f} over {one} and {other} {self.over}, {p}"

    def sentence(self, one: str, other: str) -> str:
        """What it says of ``one`` and ``other``, as they are called."""
        better, worse = (other, one) if self.value >= 0 else (one, other)
        points = f"{abs(self.value):.2f} points"
        if self.inside_noise is None:
            return f"{better} is {points} above {worse}, and {self.certainty}; measure more of them"
        if self.inside_noise:
            return f"inside the noise: {better} is {points} above {worse} ({self.certainty})"
        return f"{better} is better by {points} ({self.certainty})"


def difference(one: Sample, other: Sample) -> Difference:
    """What ``other`` is above ``one``, with Welch's t test over sets, or where one of them has one set, networks."""
    over: Literal["sets", "networks"] = "sets" if min(len(one.sets), len(other.sets)) > 1 else "networks"
    values = [
        each.set_means if over == "sets" else [a for networks in each.sets for a in networks] for each in (one, other)
    ]
    value, counts = other.mean - one.mean, (len(values[0]), len(values[1]))
    if min(counts) < 2:
        return Difference(value, None, None, over, counts)
    error = standard_error(*values)
    if error == 0:  # Welch's test divides by it.
        return Difference(value, error, 1.0 if value == 0 else 0.0, over, counts)
    moments = [(statistics.fmean(some), statistics.stdev(some), len(some)) for some in values]
    test = stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False)
    return Difference(value, error, float(test.pvalue), over, counts)


def standard_error(one: Sequence[float], other: Sequence[float]) -> float:
    """Of the difference of two means, of two or more values each, whose variances need not be equal."""
    return math.sqrt(statistics.variance(one) / len(one) + statistics.variance(other) / len(other))
