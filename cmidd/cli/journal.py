"""The journal of a sweep: every run's end, and the sum of them in words."""

import os
import shlex
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cmidd.cli.configs import PAPERS, tables
from cmidd.utils import files
from cmidd.utils.text import command_line, duration


class Journal:
    """One small file for each run of a sweep, in a folder that all the sweep's processes can write to; ``words`` are
    those of the sweep.
    """

    def __init__(self, folder: Path, words: list[str]) -> None:
        self.folder, self.words = folder, words
        self.prepared = folder / "prepared"  # There once nothing is left that a process of the sweep could make ahead.

    def write(self, number: int, state: str, words: list[str], **more: Any) -> None:
        """Record what is known of run ``number``: ``started``, then ``done`` (with its ``accuracy`` in per cent, the
        ``seconds`` it took, its ``dataset`` and ``results_root``, or with what was ``made`` ahead of the runs) or
        ``failed`` (with its ``reason``).
        """
        files.write_json(self.folder / f"{number:05d}.json", {"state": state, "words": words, **more})

    def entries(self) -> list[dict[str, Any]]:
        """What was written last of every run that started, in order."""
        return [files.read_json(path) for path in sorted(self.folder.glob("*.json"))]


Made = dict[str, list[int]]
"""Of each kind of what runs share how many files there are to be, and how many of them were made now."""

CALLED = {
    "images": "decoded pictures",
    "experts": "experts",
    "teachers": "teachers",
    "baselines": "baselines, with the networks and images that they need",
}

journal: Journal | None = None
"""The journal of the sweep that this process works for."""


def report(entries: list[dict[str, Any]], words: list[str]) -> str:
    """The end of a sweep in words: what each run came to and how long it took, every one that is not done with its
    reason, and what to do next.

    Args:
        words: that began the sweep.
    """
    by_state = {
        state: [entry for entry in entries if entry["state"] == state] for state in ("done", "failed", "started")
    }
    lines = [f"\n{len(entries)} runs: {len(by_state['done'])} done, {len(by_state['failed'])} failed"]
    lines += _accuracies(by_state["done"], entries)
    made = [entry["made"] for entry in by_state["done"] if "made" in entry]
    lines += made_ahead(made) if made else []
    for entry in by_state["failed"]:
        lines += [f"failed: {_command(entry)}", f"        {entry['reason']}"]
    lines += [f"no end was recorded (killed, or still at work): {_command(entry)}" for entry in by_state["started"]]
    if by_state["failed"] or by_state["started"]:
        others = "runs the others once more" if "overwrite=true" in words else "leaves the others as they are"
        lines.append(f"The same line again goes on with these and {others}.")
    elif following := after_preparing(words) if made else _next(by_state["done"]):
        lines.append(f"next: {following}")
    return "\n".join(lines)


def made_ahead(processes: list[Made]) -> list[str]:
    """A line for every kind of what one or several processes made together, before any run."""
    lines = []
    for kind, called in CALLED.items():
        found = [each[kind] for each in processes if kind in each]
        if found:
            needed, made = max(counts[0] for counts in found), sum(counts[1] for counts in found)
            lines.append(f"  {called}: {made} made now, {max(0, needed - made)} there already")
    return lines or ["  nothing is left to run, or nothing is shared by what is"]


def after_preparing(words: list[str]) -> str:
    """The command that runs what was prepared by one of these words."""
    return f"{command_line('distill')} {shlex.join(word for word in words if not word.startswith('prepare='))}".rstrip()


def _accuracies(done: list[dict[str, Any]], entries: list[dict[str, Any]]) -> list[str]:
    """A line for every run that has an accuracy, named by what is not the same in all runs of the sweep."""
    alike = set.intersection(*(set(entry["words"]) for entry in entries)) if len(entries) > 1 else set()
    measured = [entry for entry in done if entry.get("accuracy") is not None]
    rows = [
        f"{entry['accuracy']:>10.2f} {duration(entry['seconds']):>8}  "
        f"{shlex.join(word for word in entry['words'] if word not in alike)}"
        for entry in measured
    ]
    return [f"{'accuracy':>10} {'time':>8}  run", *rows] if rows else []


def _next(done: list[dict[str, Any]]) -> str | None:
    """The command that makes something of the runs: the table that has their data sets and the fewest others, unless it
    is the paper's, or else the page.
    """
    found = [entry for entry in done if entry.get("dataset")]
    if not found:
        return None
    sets, root = {entry["dataset"] for entry in found}, _above([entry["results_root"] for entry in found])
    columns = {path.stem: _datasets(OmegaConf.to_container(OmegaConf.load(path))) for path in tables()}
    fitting = [(name != PAPERS, len(there), name) for name, there in columns.items() if sets <= there]
    command, words = ("table", [f"table={min(fitting)[2]}"]) if fitting else ("report", [])
    words += [] if root == "results" else [f"results_root={root}"]
    return f"{command_line(command)} {shlex.join(words)}".rstrip()


def _above(roots: list[str]) -> str:
    """The folder that all of these are or lie in."""
    return roots[0] if len(set(roots)) == 1 else os.path.commonpath(roots) or "."


def _datasets(layout: Any) -> set[str]:
    """The data sets that a table has a column of; that of scores has none."""
    return {column["dataset"] for column in layout.get("columns", [])}


def _command(entry: dict[str, Any]) -> str:
    return shlex.join(entry["words"])
