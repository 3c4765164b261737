"""The journal of a sweep: every run's end, and the sum of them in words."""

import shlex
from pathlib import Path
from typing import Any

from cmidd.utils import files


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


def report(entries: list[dict[str, Any]]) -> str:
    """The end of a sweep in words: how many runs are done, and every one that is not, with its reason."""
    by_state = {
        state: [entry for entry in entries if entry["state"] == state] for state in ("done", "failed", "started")
    }
    lines = [f"\n{len(entries)} runs: {len(by_state['done'])} done, {len(by_state['failed'])} failed"]
    for entry in by_state["failed"]:
        lines += [f"failed: {_command(entry)}", f"        {entry['reason']}"]
    lines += [f"no end was recorded (killed, or still at work): {_command(entry)}" for entry in by_state["started"]]
    if by_state["failed"] or by_state["started"]:
        lines.append("The same line again goes on with these and leaves the others as they are.")
    return "\n".join(lines)


def _command(entry: dict[str, Any]) -> str:
    return shlex.join(entry["words"])
