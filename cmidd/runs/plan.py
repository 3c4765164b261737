"""The plan of a run: what is left of it, and how long that takes by what is on record."""

import functools
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from cmidd.loop.checkpoints import progress_of
from cmidd.runs.identity import BASELINE, dataset_name, strength, system
from cmidd.runs.record import read_record
from cmidd.runs.run_folder import refuse_other_settings
from cmidd.runs.settings import Settings
from cmidd.utils import files
from cmidd.utils.checking import validate
from cmidd.utils.setting_types import Count, NonNegative


class BenchCell(TypedDict):
    method: str
    dataset: str
    ipc: Count
    cmi: NonNegative
    seconds_per_iteration: NonNegative


class BenchTable(TypedDict):
    cells: list[BenchCell]


@dataclass(frozen=True)
class Plan:
    """What is left of one run; ``seconds_left`` is None where no record tells."""

    state: str
    seconds_left: float | None

    def entry(self) -> dict[str, Any]:
        """What the journal of a sweep says of it."""
        return {"state": "planned", "plan": self.state, "seconds_left": self.seconds_left}


def plan(settings: Settings) -> Plan:
    """What is left of a run, at the seconds per iteration recorded for its like under ``results_root``.

    Raises:
        SettingError: when the run's folder holds one of other settings.
    """
    folder = settings.folder
    if not settings.overwrite:
        refuse_other_settings(settings)
    if (folder / "DONE").exists():
        return Plan("done", 0.0)
    progress = progress_of(folder)
    at, iterations = progress.iteration, settings.iterations * len(settings.stage_sizes)
    own = progress.seconds / at if at else None
    known = costs(Path(settings.results_root)).get(_kind(settings.identity))
    left = None
    if own or known:
        per_iteration, evaluation = known or (own or 0.0, 0.0)
        left = (own or per_iteration) * (iterations - at) + evaluation
    return Plan(f"goes on at iteration {at} of {iterations}" if at else "to do", left)


@functools.cache
def costs(results_root: Path) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Median seconds of an iteration, and of all evaluations of a run, for every kind of run on record.

    From ``result.json`` files, and for kinds without one from the tables of ``bench.py``, which know no evaluation.
    """
    found: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
    for path in results_root.rglob("result.json"):
        record = read_record(path)
        if record.seconds is not None:
            per_iteration = record.seconds / record.last["iteration"]
            found[_kind(record.settings)].append((per_iteration, record.evaluation_seconds or 0.0))
    for path in results_root.glob("bench*.json"):
        for cell in validate(path, files.read_json(path), BenchTable)["cells"]:
            kind = (cell["method"], cell["dataset"], cell["ipc"], cell["cmi"] > 0)
            if kind not in found:
                found[kind].append((cell["seconds_per_iteration"], 0.0))
    return {
        kind: (statistics.median(seconds for seconds, _ in pairs), statistics.median(more for _, more in pairs))
        for kind, pairs in found.items()
    }


def _kind(identity: Mapping[str, Any]) -> tuple[Any, ...]:
    return system(identity), dataset_name(identity), identity["ipc"], strength(identity["cmi"]) != BASELINE
