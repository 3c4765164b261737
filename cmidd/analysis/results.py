"""The records of finished runs, read back: one :class:`Result` per ``result.json``."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmidd.runs.identity import dataset_name, matters, strength, system
from cmidd.runs.record import RunRecord, read_record
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """A finished run: where its record is, and what it says."""

    path: Path
    record: RunRecord

    @property
    def set_path(self) -> Path | None:
        """Where its synthetic set lies: in the run's folder, or under the name of a record that is kept by itself; None
        where it is not kept.
        """
        own = self.path.name.removesuffix("result.json")
        path = self.path.with_name(f"{own}safetensors" if own else "synthetic.safetensors")
        return path if path.exists() else None

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

    @property
    def evaluations(self) -> dict[str, list[float]]:
        """Accuracies by iteration; of a version that did not keep those on the way, of the last iterate."""
        return self.record.evaluations or {str(self.record.last["iteration"]): self.accuracies}

    @property
    def changed(self) -> dict[str, list[Any]]:
        """What the run changed from the published recipe, if it changes results: ``{setting: [this run's, the
        recipe's]}``; also rollbacks, which halve the step sizes.
        """
        differing = dict(self.record.differs_from_recipe or {})
        if self.record.rollbacks:
            differing["rollbacks"] = [self.record.rollbacks, 0]
        return {name: values for name, values in differing.items() if matters(name, self.settings)}


def read_results(roots: Iterable[str | Path]) -> list[Result]:
    """Every finished run under ``roots`` that was tested on the test set; the log says which others are left out.

    Without those that were replaced, and without a folder ``evidence`` in a root: others' runs, kept for the record.

    Raises:
        SettingError: when a root does not exist, or a record cannot be read.
    """
    found = [Result(path, read_record(path)) for path in records(roots, "*result.json")]
    if others := [result.path for result in found if result.record.tested_on != "test"]:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        log.info("left out, tested on a validation part and not on the test set: %s%s", others[0], more)
    return [result for result in found if result.record.tested_on == "test"]


def records(roots: Iterable[str | Path], pattern: str) -> Iterator[Path]:
    """The files of that name under ``roots``, without those that :func:`read_results` leaves out.

    Raises:
        SettingError: when a root does not exist.
    """
    for root in map(Path, roots):
        if not root.is_dir():
            raise SettingError(f"results_root={root}: no such folder; give the folder of the results")
        for path in sorted(root.rglob(pattern)):
            if ".replaced" not in path.parent.name and "evidence" not in path.relative_to(root).parts:
                yield path
