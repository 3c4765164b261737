"""What became of the runs of a sweep, and, before it starts, what is left to do and how long that takes."""

import functools
import logging
import shlex
import statistics
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmidd import files
from cmidd.checkpoints import progress_of
from cmidd.formats import BenchTable, conforming, read_record
from cmidd.plugins import stage_sizes
from cmidd.records import BASELINE, dataset_name, strength, system
from cmidd.run import refuse_other_settings
from cmidd.settings import Settings

log = logging.getLogger(__name__)


class Journal:
    """One small file for each run of a sweep, in a folder that all the sweep's processes can write to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, number: int, state: str, words: list[str], **more: Any) -> None:
        """Record what is known of run ``number``: ``started``, then ``done`` or ``failed`` (with its ``reason``)."""
        files.write_json(self.folder / f"{number:05d}.json", {"state": state, "words": words, **more})

    def entries(self) -> list[dict[str, Any]]:
        """What was written last of every run that started, in order."""
        return [files.read_json(path) for path in sorted(self.folder.glob("*.json"))]


journal: Journal | None = None
"""The journal of the sweep that this process works for."""


@dataclass(frozen=True)
class Plan:
    """What is left of one run; ``seconds_left`` is None where no record tells."""

    state: str
    seconds_left: float | None


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
    at, iterations = progress.iteration, settings.iterations * len(stage_sizes(settings))
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
        if "seconds" in record:
            per_iteration = record["seconds"] / record["last"]["iteration"]
            found[_kind(record["settings"])].append((per_iteration, record.get("evaluation_seconds", 0.0)))
    for path in results_root.glob("bench*.json"):
        for cell in conforming(path, files.read_json(path), BenchTable)["cells"]:
            kind = (cell["method"], cell["dataset"], cell["ipc"], cell["cmi"] > 0)
            if kind not in found:
                found[kind].append((cell["seconds_per_iteration"], 0.0))
    return {
        kind: (statistics.median(seconds for seconds, _ in pairs), statistics.median(more for _, more in pairs))
        for kind, pairs in found.items()
    }


def _kind(identity: dict[str, Any]) -> tuple[Any, ...]:
    return system(identity), dataset_name(identity), identity["ipc"], strength(identity["cmi"]) != BASELINE


def as_entry(outcome: Any) -> dict[str, Any]:
    """What a run's return value adds to its journal entry."""
    return asdict(outcome) | {"state": "planned", "plan": outcome.state} if isinstance(outcome, Plan) else {}


def report(entries: list[dict[str, Any]]) -> str:
    """The end of a sweep in words: how many runs are done, and every one that is not, with its reason."""
    planned = [entry for entry in entries if entry["state"] == "planned"]
    by_state = {
        state: [entry for entry in entries if entry["state"] == state] for state in ("done", "failed", "started")
    }
    lines = [f"\n{len(entries)} runs: {len(by_state['done'])} done, {len(by_state['failed'])} failed"]
    for entry in by_state["failed"]:
        lines += [f"failed: {_command(entry)}", f"        {entry['reason']}"]
    lines += [f"no end was recorded (killed, or still at work): {_command(entry)}" for entry in by_state["started"]]
    if planned:
        lines = [_report_plan(planned), *lines[1:]]
    elif by_state["failed"] or by_state["started"]:
        lines.append("The same line again goes on with these and leaves the others as they are.")
    return "\n".join(lines)


def _report_plan(entries: list[dict[str, Any]]) -> str:
    lines = [f"\n{'state':<40} {'left':>10}  run"]
    for entry in entries:
        left = entry["seconds_left"]
        lines.append(f"{entry['plan']:<40} {'unknown' if left is None else duration(left):>10}  {_command(entry)}")
    known = [entry["seconds_left"] for entry in entries if entry["seconds_left"] is not None]
    done = sum(entry["plan"] == "done" for entry in entries)
    lines.append(
        f"{done} of {len(entries)} runs done; the others take {duration(sum(known))} one after the other, by the "
        f"recorded seconds per iteration of {len(known) - done}; of {len(entries) - len(known)} nothing is recorded"
    )
    return "\n".join(lines)


def _command(entry: dict[str, Any]) -> str:
    return shlex.join(entry["words"])


def duration(seconds: float) -> str:
    """Seconds as people say them: ``42 s``, ``12 min``, ``3.5 h``, ``2.1 d``."""
    for unit, size in (("d", 86400.0), ("h", 3600.0)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
