"""The spread of values, and the noise of a difference of two means: its standard error, and Welch's test, or that of
pairs.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

ERRORS = 2.0  # standard errors that a difference must reach
LEVEL = 0.05  # that p must not exceed: with few values, two standard errors come about by chance too often
RULE = f"a difference is inside the noise below {ERRORS:g} standard errors, or where Welch's p exceeds {LEVEL:g}"


@dataclass(frozen=True)
class Noise:
    """The standard error of a difference, in its unit, and p of a test that it is 0."""

    standard_error: float
    p: float

    def covers(self, difference: float) -> bool:
        """Whether a difference may well be chance (:data:`RULE`)."""
        return abs(difference) < ERRORS * self.standard_error or self.p > LEVEL

    def __str__(self) -> str:
        return "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"


def deviation(values: Sequence[float]) -> float:
    """Sample standard deviation; 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def within_spreads(difference: float, one: float, other: float) -> bool:
    """Whether two means are within two joint standard deviations of each other, as tables mark it (≈)."""
    return abs(difference) <= 2 * math.hypot(one, other)


def noise_of(one: Sequence[float], other: Sequence[float]) -> Noise | None:
    """Of the difference of two means, whose variances need not be equal; None where either is of a single value."""
    if min(len(one), len(other)) < 2:
        return None
    error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (one, other)))
    if error == 0:  # Welch's test divides by it.
        return _without_spread(one, other)
    from scipy import stats  # Here: it takes a second, and few commands compare.

    moments = [(statistics.fmean(values), statistics.stdev(values), len(values)) for values in (one, other)]
    return Noise(error, float(stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False).pvalue))


def noise_of_pairs(one: Sequence[float], other: Sequence[float]) -> Noise | None:
    """Of the mean difference of two or more pairs, by the paired t test; None for a single pair."""
    if len(one) < 2:
        return None
    differences = [second - first for first, second in zip(one, other, strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    if error == 0:
        return _without_spread(one, other)
    from scipy import stats

    return Noise(error, float(stats.ttest_rel(one, other).pvalue))


def _without_spread(one: Sequence[float], other: Sequence[float]) -> Noise:
    return Noise(0.0, 1.0 if statistics.fmean(one) == statistics.fmean(other) else 0.0)
