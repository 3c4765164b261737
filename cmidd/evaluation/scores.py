"""Scores of a set beside random images: HLR, IOR, LRS, ARS, and what its gain consists of."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from cmidd.compute.recipe import Targets
from cmidd.utils.noise import RULE, Noise, noise_of

WEIGHT = 0.5  # w of LRS
SHARE = 0.5  # gamma of ARS
SCORES = ("HLR", "IOR", "LRS", "ARS")
TERMS = {
    "real_hard": "the whole training set, hard labels",
    "syn_hard": "the set's images, hard labels, no augmentation",
    "rdm_hard": "random images, hard labels, no augmentation",
    "syn_plain": "the set's images and labels, no augmentation",
    "rdm_plain": "random images, labelled alike, no augmentation",
    "syn_any": "the set as its method has it",
    "rdm_any": "random images, labelled and augmented alike",
}
# Each is what the first has above the second; together they lead from rdm_hard to syn_any.
PARTS = (
    ("images", "syn_hard", "rdm_hard"),
    ("labels", "syn_plain", "syn_hard"),
    ("augmentation", "syn_any", "syn_plain"),
)
SELECTION = "each network after its last epoch, where DD-Ranking takes the best of several tests on the test set"
ABOUT = (
    "Mean ± population standard deviation over n runs, times 100. HLR (lower is better): what the set's images lack to "
    "the whole training set under hard labels. IOR: what the set has above random images with the same labels and "
    f"augmentation. LRS and ARS: 100 is the best, 26.89 is no advantage. Accuracies are of {SELECTION}."
)


def hard_label_recovery(real_hard: float, syn_hard: float) -> float:
    """HLR, lower is better: what the set's images lack to the whole training set, under hard labels. In fractions."""
    return real_hard - syn_hard


def improvement_over_random(syn_any: float, rdm_any: float) -> float:
    """IOR, higher is better: what the set has above random images under its own labels and protocol. In fractions."""
    return syn_any - rdm_any


def robust_score(alpha: float) -> float:
    """An advantage in [-1, 1] as a score in [0, 1]: (e^alpha - e^-1) / (e - e^-1)."""
    return (math.exp(alpha) - math.exp(-1)) / (math.e - math.exp(-1))


def label_robust_score(
    real_hard: float, syn_hard: float, syn_any: float, rdm_any: float, weight: float = WEIGHT
) -> float:
    """LRS in [0, 1] of accuracies in fractions: w IOR - (1 - w) HLR through :func:`robust_score`."""
    ior, hlr = improvement_over_random(syn_any, rdm_any), hard_label_recovery(real_hard, syn_hard)
    return robust_score(weight * ior - (1 - weight) * hlr)


def augmentation_robust_score(
    syn_augmented: float, rdm_augmented: float, syn_plain: float, rdm_plain: float, share: float = SHARE
) -> float:
    """ARS in [0, 1] of accuracies in fractions: what the set has above random images with augmentation and without."""
    return robust_score(share * (syn_augmented - rdm_augmented) + (1 - share) * (syn_plain - rdm_plain))


@dataclass(frozen=True)
class Part:
    """What images, labels or augmentation add, in points; ``noise`` is None with one network, or where nothing is."""

    of: str
    points: float
    noise: Noise | None
    measured: bool

    @property
    def in_words(self) -> str:
        """``8.1 from the images``; what it does not have, and what may be chance, is said."""
        if not self.measured:
            return f"none from the {self.of}"
        covered = self.noise is not None and self.noise.covers(self.points)
        return f"{self.points:.1f} from the {self.of}{' (inside the noise)' if covered else ''}"


@dataclass(frozen=True)
class Scores:
    """The scores of one set on one network, from n runs of each of :data:`TERMS`.

    Attributes:
        accuracies: of every term, in per cent, one a run; of ``real_hard`` as many as there are, run i takes the i-th.
        real: where ``real_hard`` comes from.
        labels: whose labels ``any`` has: ``hard``, or as :attr:`cmidd.compute.recipe.TrainingRecipe.targets`.
        lr: the learning rate of every term.
    """

    accuracies: dict[str, list[float]]
    real: str
    labels: Literal["hard"] | Targets
    lr: float

    @cached_property
    def runs(self) -> dict[str, list[float]]:
        """Of every score one value a run, in fractions: LRS and ARS are not linear, so runs are scored, not means."""
        found: dict[str, list[float]] = {name: [] for name in SCORES}
        for number in range(len(self.accuracies["syn_any"])):
            a = {term: values[number % len(values)] / 100 for term, values in self.accuracies.items()}
            found["HLR"].append(hard_label_recovery(a["real_hard"], a["syn_hard"]))
            found["IOR"].append(improvement_over_random(a["syn_any"], a["rdm_any"]))
            found["LRS"].append(label_robust_score(a["real_hard"], a["syn_hard"], a["syn_any"], a["rdm_any"]))
            found["ARS"].append(augmentation_robust_score(a["syn_any"], a["rdm_any"], a["syn_plain"], a["rdm_plain"]))
        return found

    @cached_property
    def parts(self) -> list[Part]:
        """What the set has above random images with hard labels and no augmentation: images first, then labels, then
        augmentation, each added to what is there already.
        """
        found = []
        for of, above, below in PARTS:
            one, other = self.accuracies[below], self.accuracies[above]
            measured = one is not other
            points = statistics.fmean(other) - statistics.fmean(one)
            found.append(Part(of, points, noise_of(one, other) if measured else None, measured))
        return found

    def table_cells(self) -> list[str]:
        """The scores times 100, each with its spread over the runs, in the order of :data:`SCORES`."""
        return [score_text(self.runs[name]) for name in SCORES]

    def sentence(self, name: str) -> str:
        """What the gain of the set consists of, which is called ``name``."""
        total = statistics.fmean(self.accuracies["syn_any"]) - statistics.fmean(self.accuracies["rdm_hard"])
        *first, last = [part.in_words for part in self.parts]
        ior = 100 * statistics.fmean(self.runs["IOR"])
        noise = noise_of(self.accuracies["rdm_any"], self.accuracies["syn_any"])
        covered = " (inside the noise)" if noise is not None and noise.covers(ior) else ""
        return (
            f"{name}: {_beside(total)} random images with hard labels and no augmentation: {', '.join(first)} and "
            f"{last}, added in this order; {_beside(ior)} random images with the same labels and augmentation{covered}."
        )

    def record(self, name: str) -> dict[str, Any]:
        """All of it, for JSON: accuracies in per cent, scores in fractions."""
        return {
            "accuracies": self.accuracies,
            "terms": TERMS,
            **{
                each: {"runs": values, "mean": statistics.fmean(values), "spread": statistics.pstdev(values)}
                for each, values in self.runs.items()
            },
            "spread_is": "population standard deviation over the runs",
            "weight": WEIGHT,
            "share": SHARE,
            "real_hard_from": self.real,
            "labels": self.labels,
            "learning_rate": self.lr,
            "selection": SELECTION,
            "gain": [
                {"of": part.of, "points": part.points, **({} if part.noise is None else vars(part.noise))}
                for part in self.parts
            ],
            "noise": RULE,
            "sentence": self.sentence(name),
        }


def score_text(runs: Iterable[float]) -> str:
    """A score times 100: mean and population standard deviation over the runs, as DD-Ranking prints it."""
    values = [100 * value for value in runs]
    return f"{statistics.fmean(values):.2f}" + (f" ± {statistics.pstdev(values):.2f}" if len(values) > 1 else "")


def _beside(points: float) -> str:
    return f"{abs(points):.1f} points {'above' if points >= 0 else 'below'}"
