"""Spread between sets, spread between networks, and whether a difference is more than both."""

import math
import statistics
from dataclasses import dataclass
from typing import Literal

from cmidd.utils.noise import Noise, noise_of, noise_of_pairs


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
        noise: over what ``over`` says; None where one of the two has a single value, which tells nothing of it.
        over: ``sets`` where both have several, else ``networks``: what is said then holds for these sets, and not for
            others that the same settings make.
        counts: how many values each had.
    """

    value: float
    noise: Noise | None
    over: Literal["sets", "networks"]
    counts: tuple[int, int]

    @property
    def inside_noise(self) -> bool | None:
        """Whether it may well be chance; None where nothing tells."""
        return None if self.noise is None else self.noise.covers(self.value)

    @property
    def certainty(self) -> str:
        """Its standard error, over what, and p: ``standard error 0.30 over 3 and 3 sets, p = 0.01``."""
        if self.noise is None:
            return "its noise is unknown: one network"
        one, other = self.counts
        return f"standard error {self.noise.standard_error:.2f} over {one} and {other} {self.over}, {self.noise}"

    def sentence(self, one: str, other: str) -> str:
        """What it says of ``one`` and ``other``, as they are called."""
        better, worse = (other, one) if self.value >= 0 else (one, other)
        points = f"{abs(self.value):.2f} points"
        if self.inside_noise is None:
            return f"{better} is {points} above {worse}, and {self.certainty}; measure more of them"
        if self.inside_noise:
            return f"inside the noise: {better} is {points} above {worse} ({self.certainty})"
        return f"{better} is better by {points} ({self.certainty})"


def over_pairs(one: Sample, other: Sample) -> str:
    """The difference once more over pairs, the n-th set of one with the n-th of the other, in a sentence."""
    noise, value = noise_of_pairs(one.set_means, other.set_means), other.mean - one.mean
    if noise is None:
        return ""
    verdict = "inside the noise" if noise.covers(value) else "beyond the noise"
    return (
        f"Over {len(one.sets)} pairs of the same seed, which begin with the same images: {value:+.2f} points, standard "
        f"error {noise.standard_error:.2f}, {noise} by the paired t test, {verdict}."
    )


def difference(one: Sample, other: Sample) -> Difference:
    """What ``other`` is above ``one``, with its noise over sets, or where one of them has one set, networks."""
    over: Literal["sets", "networks"] = "sets" if min(len(one.sets), len(other.sets)) > 1 else "networks"
    first, second = (
        each.set_means if over == "sets" else [a for networks in each.sets for a in networks] for each in (one, other)
    )
    return Difference(other.mean - one.mean, noise_of(first, second), over, (len(first), len(second)))
