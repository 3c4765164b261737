"""What stands in a cell of a table, and what was found for it and does not stand there."""

import statistics
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cmidd.analysis.comparison import Sample
from cmidd.analysis.results import Result
from cmidd.runs.identity import REPEATED, TEACHERS, WITHOUT_EFFECT, identity_differences, matters
from cmidd.utils.checking import shown
from cmidd.utils.nested import among, at
from cmidd.utils.noise import deviation

MOST_NAMED = 3  # of what differs, and of the files of what is not shown


class Measured(ABC):
    """Accuracies in per cent, and how they were come by."""

    @property
    @abstractmethod
    def sample(self) -> Sample:
        """The accuracies by the set that the networks were trained on."""

    @property
    def accuracies(self) -> list[float]:
        return [accuracy for networks in self.sample.sets for accuracy in networks]

    @property
    def changed(self) -> dict[str, list[Any]]:
        """What changed from the published recipe, if it changes results."""
        return {}

    @property
    def teachers(self) -> str | None:
        """The networks in whose features CMI was measured, in words; None without CMI, or when nothing tells."""
        return None

    @property
    def others(self) -> tuple["NotShown", ...]:
        """What was found for the same cell, differs, and is not shown."""
        return ()

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def spread(self) -> float:
        """Sample standard deviation over all networks; 0 for a single one."""
        return deviation(self.accuracies)

    @property
    def text(self) -> str:
        """Mean, spread and n."""
        return f"{self.mean:.2f} ± {self.spread:.2f} (n={len(self.accuracies)})"

    @property
    def apart(self) -> str:
        """The spread between sets and that between networks, each with its n; nothing where there is one set."""
        return self.sample.apart if len(self.sample.sets) > 1 else ""

    @property
    def of_recipe(self) -> str:
        """What it changed from its recipe, in words; nothing where it did not."""
        return f"not the recipe: {in_words(self.changed)}" if self.changed else ""

    @property
    def notes(self) -> list[str]:
        """What the marks at the cell say."""
        whys = _first(list(dict.fromkeys(other.why for other in self.others)), "; ")
        return [*filter(None, [self.of_recipe, whys and f"others are listed below: {whys}"])]


@dataclass(frozen=True)
class NotShown(Measured):
    """Runs of a cell, or a baseline, that are not shown: ``why`` says how they differ from what is."""

    results: tuple[Result, ...] | tuple["BaselineCell", ...]
    why: str

    @property
    def sample(self) -> Sample:
        return Sample(tuple(tuple(result.accuracies) for result in self.results))

    @property
    def line(self) -> str:
        """What it is worth, how it differs, and where its records are."""
        return f"{self.text}, {self.why}: {_first([str(result.path) for result in self.results], ', ')}"


@dataclass(frozen=True)
class BaselineCell(Measured):
    """A baseline that was measured alone (``scripts/baselines.py``): where its record is, and what it says."""

    path: Path
    record: dict[str, Any]
    others: tuple[NotShown, ...] = ()

    @property
    def key(self) -> "BaselineKey":
        return self.record["baseline"], self.record["method"], self.record["dataset"], self.record["ipc"]

    @property
    def accuracies(self) -> list[float]:
        return self.record["accuracies"]

    @property
    def sample(self) -> Sample:
        """Accuracy r is of set r modulo ``sets``; of ``random`` images, where a record does not say it, every network
        has its own.
        """
        count = self.record.get("sets") or (len(self.accuracies) if self.record["baseline"] == "random" else 1)
        return Sample(tuple(tuple(self.accuracies[number::count]) for number in range(count)))

    @property
    def changed(self) -> dict[str, list[Any]]:
        return {name: both for name, both in self.record["differs_from_recipe"].items() if name not in WITHOUT_EFFECT}


BaselineKey = tuple[str, str | None, str, int | None]
"""Which baseline (``random``), whose protocol, data set, ipc; of ``whole`` the second and last are None."""


@dataclass(frozen=True)
class Cell(Measured):
    """The runs of one system, data set, ipc and weight or ratio of CMI, which differ in nothing but their seeds."""

    results: tuple[Result, ...]
    others: tuple[NotShown, ...] = ()

    @cached_property
    def sample(self) -> Sample:
        """Every run is a set."""
        return Sample(tuple(tuple(result.accuracies) for result in self.results))

    @cached_property
    def changed(self) -> dict[str, list[Any]]:
        return {name: both for result in self.results for name, both in result.changed.items()}

    @property
    def iterations(self) -> int:
        """How long the runs were distilled, over all stages."""
        return self.results[0].record.last["iteration"]

    @property
    def teachers(self) -> str | None:
        result = self.results[0]
        cmi = result.settings["cmi"]
        if result.weight == 0 or not {"pool", "teacher", "epochs"} <= set(cmi):
            return None
        trained = "from files" if cmi.get("teachers") else f"{cmi['epochs']} epochs"
        return f"{cmi['pool']} {cmi['teacher']}, {trained}"


Key = tuple[str, str, int, str]
"""System (the method with its plug-ins), data set, ipc, strength of CMI."""


def saying_most(results: Sequence[Result]) -> Result:
    """Of runs that differ in their seeds at most one that says what all of them are: earlier versions said nothing of
    the images of a folder, and their runs are like any of that folder.
    """
    return next((each for each in results if at(each.settings, "data.content") is not None), results[0])


def differing(one: Cell, other: Cell, beside: Sequence[str] = ("seed",)) -> dict[str, list[Any]]:
    """What two groups of runs differ in, ``{setting: [the other's, the one's]}``.

    Args:
        beside: settings, and groups of them, that are not looked at.
    """
    found = identity_differences(*(saying_most(cell.results).settings for cell in (one, other)))
    every = {name: [new, old] for name, old, new in found if not among(name, beside)}
    return {name: both for name, both in every.items() if not name.startswith(REPEATED)} or every


def more_than_cmi(base: Cell, other: Cell) -> dict[str, list[Any]]:
    """What runs with CMI and their baseline differ in beside it, as :func:`differing`: nothing, where CMI is what their
    difference comes from.
    """
    # CMI's are its teachers too, and over how many steps a ratio is measured, unless the baseline has another
    # regulariser that asks for them.
    own = ["cmi.weight", "cmi.ratio", "cmi.centroids", "cmi.input", "cmi.measure"]
    own += [name for name in (*TEACHERS, "balance_steps") if not matters(name, base.results[0].settings)]
    return differing(base, other, ["seed", *own])


def more_than_strength(one: Cell, other: Cell) -> dict[str, list[Any]]:
    """What two groups of runs with CMI differ in beside its strength, as :func:`differing`."""
    measured = all(matters("balance_steps", cell.results[0].settings) for cell in (one, other))
    return differing(one, other, ["seed", "cmi.weight", "cmi.ratio", *([] if measured else ["balance_steps"])])


def of_shared_seeds(*cells: Cell) -> tuple[Cell, ...]:
    """Cells, each with its runs of the seeds that all have; as they are, where they share none."""
    shared = set.intersection(*({result.seed for result in cell.results} for cell in cells))
    if not shared:
        return cells
    return tuple(replace(cell, results=tuple(each for each in cell.results if each.seed in shared)) for cell in cells)


def in_words(differing: Mapping[str, Sequence[Any]], most: int | None = None) -> str:
    """Settings that differ, ``{name: [own, other]}``, with both values; the first of them where ``most`` says so."""
    texts = [f"{name}={shown(own)} instead of {shown(other)}" for name, (own, other) in differing.items()]
    return _first(texts, ", ", most or len(texts))


def _first(texts: Sequence[str], between: str, most: int = MOST_NAMED) -> str:
    """The first few texts, and how many more there are."""
    more = len(texts) - most
    return between.join([*texts[:most], *([f"and {more} more"] if more > 0 else [])])
