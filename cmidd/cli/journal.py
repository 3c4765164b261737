"""The journal of a sweep: every run's end, and the sum of them in words."""

import shlex
from pathlib import Path
from typing import Any

from cmidd.utils import files
from cmidd.utils.text import duration


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


def as_entry(outcome: Any) -> dict[str, Any]:
    """What a run's return value adds to its journal entry: that of a plan says so itself."""
    entry: dict[str, Any] = getattr(outcome, "entry", dict)()
    return entry


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
