"""What runs took so far: seconds of an iteration and of the evaluations, by what is on record."""

import functools
import logging
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from typing_extensions import TypedDict

from cmidd.runs.identity import BASELINE, dataset_name, strength, system
from cmidd.runs.record import RunRecord, read_record
from cmidd.utils import files
from cmidd.utils.checking import validate
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import at
from cmidd.utils.setting_types import Count, NonNegative

log = logging.getLogger(__name__)
T = TypeVar("T")


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
    """Median seconds of an iteration, and of an epoch of a network of an evaluation, for every kind of run on record.

    From ``result.json`` files, and for kinds without one from the tables of ``bench.py``, which know no evaluation.
    What is damaged, of another version or somebody else's is left out with a warning, for no run depends on it.
    """
    left_out: list[Exception] = []
    found: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
    for record in _sound(results_root.rglob("result.json"), read_record, left_out):
        if record.seconds is not None:
            per_iteration = record.seconds / record.last["iteration"]
            found[kind_of(record.settings)].append((per_iteration, _of_an_epoch(record)))
    for cells in _sound(results_root.glob("bench*.json"), _bench_cells, left_out):
        for cell in cells:
            kind = (cell["method"], cell["dataset"], cell["ipc"], cell["cmi"] > 0)
            if kind not in found:
                found[kind].append((cell["seconds_per_iteration"], 0.0))
    if left_out:
        others = f" (and {len(left_out) - 1} more)" if left_out[1:] else ""
        log.warning("not counted in how long runs take: %s%s", left_out[0], others)
    return {
        kind: (statistics.median(seconds for seconds, _ in pairs), statistics.median(more for _, more in pairs))
        for kind, pairs in found.items()
    }


def _of_an_epoch(record: RunRecord) -> float:
    """Seconds of an epoch of a network on a stage of the set, of which a network is trained on all so far; 0 where a
    record of an earlier version does not tell.
    """
    evaluations = record.evaluations or {str(record.last["iteration"]): record.last["accuracies"]}
    in_stage, epochs = (at(record.settings, name) for name in ("iterations", "evaluation.training.epochs"))
    if not (isinstance(epochs, int) and epochs > 0):
        return 0.0
    if not (isinstance(in_stage, int) and in_stage > 0):
        in_stage = record.last["iteration"]
    trained = sum(-(-int(iteration) // in_stage) * len(values) for iteration, values in evaluations.items())
    return (record.evaluation_seconds or 0.0) / (trained * epochs) if trained else 0.0


def _sound(paths: Iterator[Path], read: Callable[[Path], T], left_out: list[Exception]) -> Iterator[T]:
    """What can be read; the errors of the others are added to ``left_out``."""
    for path in paths:
        try:
            yield read(path)
        except (SettingError, OSError) as error:
            left_out.append(error)


def _bench_cells(path: Path) -> list[BenchCell]:
    return validate(path, files.read_json(path), BenchTable)["cells"]


def kind_of(identity: Mapping[str, Any]) -> tuple[Any, ...]:
    """What runs have in common that take about as long an iteration."""
    return system(identity), dataset_name(identity), identity["ipc"], strength(identity["cmi"]) != BASELINE
