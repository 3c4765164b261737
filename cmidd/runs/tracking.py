"""Metrics of a run: always a local JSON-lines file, and wandb where it is switched on."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from cmidd.loop.checkpoints import Progress
from cmidd.utils import files
from cmidd.utils.errors import SettingError


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
        self._keep(lambda row: _covered(row, done))
        self.wandb: Any = None
        if wandb_mode != "disabled":
            self.wandb = _start_wandb(folder, wandb_mode, project, config)

    def __call__(self, metrics: dict[str, Any]) -> None:
        """Record one row; ``metrics`` has an ``iteration``."""
        files.append_line(self.path, json.dumps(metrics))
        if self.wandb is not None:
            self.wandb.log(metrics, step=metrics["iteration"])

    def forget(self, iteration: int) -> None:
        """Drop the rows after an iteration; wandb keeps them, and takes no others for the same iterations."""
        self._keep(lambda row: bool(row["iteration"] <= iteration))

    def _keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        rows = files.read_rows(self.path) if self.path.exists() else []
        files.write_text(self.path, "".join(f"{json.dumps(row)}\n" for row in rows if wanted(row)))

    def close(self, picture: Path, summary: dict[str, Any]) -> None:
        """Hand the image grid and the headline numbers to wandb."""
        if self.wandb is not None:
            import wandb

            self.wandb.log({"synthetic": wandb.Image(str(picture))})
            self.wandb.summary.update(summary)
            self.wandb.finish()


def _covered(row: dict[str, Any], done: Progress) -> bool:
    """Whether the checkpoints hold what a row says: what they do not is done, and written, once more."""
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
