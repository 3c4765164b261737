"""The records of finished runs, read back: one :class:`Result` per ``result.json``, grouped into cells."""

import statistics
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cmidd.evaluation.baselines import BaselineRecord
from cmidd.runs.identity import dataset_name, identity_differences, strength, system, without_effect
from cmidd.runs.record import RunRecord, read_record
from cmidd.utils import files
from cmidd.utils.checking import validate
from cmidd.utils.errors import SettingError

# Settings that change what is recorded, or how sums are ordered, but not what a run computes.
WITHOUT_EFFECT = ("cmi.measure", "engine.compile", "engine.deterministic")


@dataclass(frozen=True)
class Result:
    """A finished run: where its record is, and what it says."""

    path: Path
    record: RunRecord

    @property
    def settings(self) -> Any:
        return self.record.settings

    @property
    def method(self) -> str:
        return self.settings["method"]["name"]

    @property
    def system(self) -> str:
        """The method with its plug-ins, as :func:`cmidd.runs.identity.system` names it."""
        return system(self.settings)

    @property
    def dataset(self) -> str:
        return dataset_name(self.settings)

    @property
    def ipc(self) -> int:
        return self.settings["ipc"]

    @property
    def weight(self) -> float | None:
        """Of CMI; 0 is the baseline, None a run that measured it."""
        return self.settings["cmi"]["weight"]

    @property
    def strength(self) -> str:
        """The weight or ratio of CMI, as :func:`cmidd.runs.identity.strength` names it."""
        return strength(self.settings["cmi"])

    @property
    def seed(self) -> int:
        return self.settings["seed"]

    @property
    def accuracies(self) -> list[float]:
        """Of the networks trained on the last iterate, in per cent."""
        return self.record.last["accuracies"]

    def part(self, name: str) -> Any:
        """What the record says of ``name``; refused where it is of a version that did not say it yet."""
        self.record.has(self.path, name)
        return getattr(self.record, name)

    @property
    def changed(self) -> dict[str, list[Any]]:
        """What the run changed from the published recipe, if it changes results: ``{setting: [this run's, the
        recipe's]}``; also rollbacks, which halve the step sizes.
        """
        differing = dict(self.record.differs_from_recipe or {})
        if self.record.rollbacks:
            differing["rollbacks"] = [self.record.rollbacks, 0]
        ignored = {*WITHOUT_EFFECT, *without_effect(self.settings)}
        return {name: values for name, values in differing.items() if name not in ignored}


class Measured(ABC):
    """What stands in a cell of a table: accuracies in per cent, and how they were come by."""

    @property
    @abstractmethod
    def accuracies(self) -> list[float]: ...

    @property
    @abstractmethod
    def changed(self) -> dict[str, list[Any]]:
        """What changed from the published recipe, if it changes results."""

    @property
    def teachers(self) -> str | None:
        """The networks in whose features CMI was measured, in words; None without CMI, or when nothing tells."""
        return None

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def spread(self) -> float:
        """Sample standard deviation over all networks; 0 for a single one."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


@dataclass(frozen=True)
class BaselineCell(Measured):
    """A baseline that was measured alone (``scripts/baselines.py``): where its record is, and what it says."""

    path: Path
    record: dict[str, Any]

    @property
    def key(self) -> "BaselineKey":
        return self.record["baseline"], self.record["method"], self.record["dataset"], self.record["ipc"]

    @property
    def accuracies(self) -> list[float]:
        return self.record["accuracies"]

    @property
    def changed(self) -> dict[str, list[Any]]:
        return {name: both for name, both in self.record["differs_from_recipe"].items() if name not in WITHOUT_EFFECT}


BaselineKey = tuple[str, str | None, str, int | None]


"""``random`` or ``whole``, whose protocol, data set, ipc; of ``whole`` the second and last are None."""


@dataclass(frozen=True)
class Cell(Measured):
    """The runs of one system, data set, ipc and weight or ratio of CMI, which differ in nothing but their seeds."""

    results: tuple[Result, ...]

    @cached_property
    def accuracies(self) -> list[float]:
        """Of all evaluated networks of all seeds."""
        return [accuracy for result in self.results for accuracy in result.accuracies]

    @property
    def changed(self) -> dict[str, list[Any]]:
        return self.results[0].changed

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


def read_results(roots: Iterable[str | Path]) -> list[Result]:
    """Every finished run under ``roots`` that was tested on the test set.

    Without those that were replaced, and without a folder ``evidence`` in a root: others' runs, kept for the record.

    Raises:
        SettingError: when a root does not exist, or a record cannot be read.
    """
    found = [Result(path, read_record(path)) for path in _records(roots, "*result.json")]
    return [result for result in found if result.record.tested_on == "test"]


def read_baselines(roots: Iterable[str | Path]) -> dict[BaselineKey, BaselineCell]:
    """Every baseline under ``roots`` that was measured alone, and tested on the test set.

    Raises:
        SettingError: when a root does not exist, a record cannot be read, or two say different things of the same.
    """
    found: dict[BaselineKey, BaselineCell] = {}
    for path in _records(roots, "*baseline.json"):
        cell = BaselineCell(path, validate(path, files.read_json(path), BaselineRecord))
        if cell.record["tested_on"] != "test":
            continue
        first = found.setdefault(cell.key, cell)
        if first.accuracies != cell.accuracies:
            raise SettingError(
                f"the baseline {cell.key[0]} is in {first.path} and, measured otherwise, in {path}; move one away"
            )
    return found


def _records(roots: Iterable[str | Path], pattern: str) -> Iterator[Path]:
    for root in map(Path, roots):
        if not root.is_dir():
            raise SettingError(f"results_root={root}: no such folder; give the folder of the results")
        for path in sorted(root.rglob(pattern)):
            if ".replaced" not in path.parent.name and "evidence" not in path.relative_to(root).parts:
                yield path


def cells(results: Iterable[Result]) -> dict[Key, Cell]:
    """Group runs that differ only in their seeds.

    Raises:
        SettingError: when runs of one cell were made or tested under different settings, naming the first.
    """
    groups: dict[Key, list[Result]] = defaultdict(list)
    for result in results:
        groups[result.system, result.dataset, result.ipc, result.strength].append(result)
    for group in groups.values():
        first, seeds = group[0], {group[0].seed: group[0]}
        for other in group[1:]:
            for name, old, new in identity_differences(first.settings, other.settings):
                if name != "seed":
                    raise SettingError(
                        f"{name}: {old} in {first.path} but {new} in {other.path}; a cell does not mix protocols: "
                        "move one of the two away, or give another results_root"
                    )
            if other.seed in seeds:
                raise SettingError(
                    f"seed={other.seed}: the same run is in {seeds[other.seed].path} and in {other.path}; move one away"
                )
            seeds[other.seed] = other
    return {key: Cell(tuple(group)) for key, group in groups.items()}
