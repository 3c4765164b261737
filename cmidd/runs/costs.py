"""What runs took so far: seconds of an iteration and of the evaluations, by what is on record."""

import functools
import statistics
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from cmidd.runs.identity import BASELINE, dataset_name, strength, system
from cmidd.runs.record import read_record
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
            found[kind_of(record.settings)].append((per_iteration, record.evaluation_seconds or 0.0))
    for path in results_root.glob("bench*.json"):
        for cell in validate(path, files.read_json(path), BenchTable)["cells"]:
            kind = (cell["method"], cell["dataset"], cell["ipc"], cell["cmi"] > 0)
            if kind not in found:
                found[kind].append((cell["seconds_per_iteration"], 0.0))
    return {
        kind: (statistics.median(seconds for seconds, _ in pairs), statistics.median(more for _, more in pairs))
        for kind, pairs in found.items()
    }


def kind_of(identity: Mapping[str, Any]) -> tuple[Any, ...]:
    """What runs have in common that take about as long an iteration."""
    return system(identity), dataset_name(identity), identity["ipc"], strength(identity["cmi"]) != BASELINE
