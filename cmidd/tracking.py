"""Metrics of a run: always a local JSON-lines file, and wandb where it is switched on."""

import json
import uuid
from pathlib import Path
from typing import Any, Literal

from cmidd import files
from cmidd.errors import SettingError
from cmidd.plugins import Progress


class Tracker:
    """Appends metrics to ``metrics.jsonl``; a resumed run first drops what its checkpoints do not hold.

    Raises:
        SettingError: when wandb is online and this machine is not logged in.
    """

    def __init__(
        self,
        folder: Path,
        done: Progress,
        wandb_mode: Literal["disabled", "offline", "online"],
        project: str,
        config: dict[str, Any],
    ) -> None:
        self.path = folder / "metrics.jsonl"
        files.write_text(self.path, "".join(line for line in _lines(self.path) if _covered(line, done)))
        self.wandb: Any = None
        if wandb_mode != "disabled":
            self.wandb = _start_wandb(folder, wandb_mode, project, config)

    def __call__(self, metrics: dict[str, Any]) -> None:
        """Record one row; ``metrics`` has an ``iteration``."""
        files.append_line(self.path, json.dumps(metrics))
        if self.wandb is not None:
            self.wandb.log(metrics, step=metrics["iteration"])

    def close(self, picture: Path, summary: dict[str, Any]) -> None:
        """Hand the image grid and the headline numbers to wandb."""
        if self.wandb is not None:
            import wandb

            self.wandb.log({"synthetic": wandb.Image(str(picture))})
            self.wandb.summary.update(summary)
            self.wandb.finish()


def _lines(path: Path) -> list[str]:
    """The lines of a file, without one that was cut short at its end."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n")]


def _covered(line: str, done: Progress) -> bool:
    """Whether the checkpoints hold what a line says: what they do not is done, and written, once more."""
    row = json.loads(line)
    if "accuracy" in row:
        return row["iteration"] in done.evaluated
    return bool(row["iteration"] <= done.iteration)


def _start_wandb(folder: Path, mode: Literal["offline", "online"], project: str, config: dict[str, Any]) -> Any:
    """A wandb run, continued where the folder already has one."""
    import wandb

    known = folder / "wandb_id.txt"
    if not known.exists():
        files.write_text(known, uuid.uuid4().hex[:8])
    try:
        return wandb.init(
            project=project,
            mode=mode,
            dir=str(folder),
            config=config,
            name="/".join(folder.parts[-5:]),
            id=known.read_text(),
            resume="allow" if mode == "online" else None,
        )
    except wandb.errors.UsageError as error:
        raise SettingError(f"wandb.mode={mode}: {error} -- or use wandb.mode=offline and 'wandb sync' later") from error
