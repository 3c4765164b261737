"""Metrics of a run: always a local JSON-lines file, and beside it wandb or TensorBoard where one is asked for."""

import json
import sys
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field

from cmidd.loop.checkpoints import Progress
from cmidd.utils import files
from cmidd.utils.errors import SettingError

Tracking = Literal["none", "wandb", "tensorboard"]
Row = dict[str, Any]


@dataclass(frozen=True)
class WandbSettings:
    """``mode`` of None is ``online`` with ``tracking=wandb``, else ``disabled``."""

    mode: Literal["disabled", "offline", "online"] | None = None
    project: Annotated[str, Field(min_length=1)] = "cmidd"


def chosen(tracking: Tracking | None, wandb: WandbSettings) -> Tracking:
    """Where metrics go; ``wandb.mode=offline`` and ``online`` alone mean wandb.

    Raises:
        SettingError: when the two settings contradict each other, or what is asked for is not installed.
    """
    asks = wandb.mode in ("offline", "online")
    if asks and tracking not in (None, "wandb"):
        raise SettingError(
            f"tracking={tracking}: wandb.mode={wandb.mode} asks for wandb; leave out one of them, or use tracking=wandb"
        )
    if tracking == "wandb" and wandb.mode == "disabled":
        raise SettingError("wandb.mode=disabled: tracking=wandb asks for it; give wandb.mode=offline or online")
    found: Tracking = "wandb" if asks else tracking or "none"
    if found != "none" and found not in sys.modules and find_spec(found) is None:
        raise SettingError(f"tracking={found}: the package {found} is not installed; pip install {found}")
    return found


class Follower(Protocol):
    """What is shown the rows of ``metrics.jsonl``."""

    def begin(self, rows: Iterable[Row]) -> None:
        """What is on record: at the start of a run, and where it went back."""

    def add(self, row: Row) -> None:
        """One more row."""

    def close(self, picture: Path, summary: Row) -> None:
        """The image grid and the headline numbers of the finished run."""


class Tracker:
    """Appends metrics to ``metrics.jsonl``; a resumed run first drops what its checkpoints do not hold.

    Raises:
        SettingError: when wandb is online and cannot be reached, or this machine is not logged in.
    """

    def __init__(
        self, folder: Path, done: Progress, tracking: Tracking | None, wandb: WandbSettings, config: dict[str, Any]
    ) -> None:
        self.path = folder / "metrics.jsonl"
        self.follower: Follower | None = None
        kept = self._keep(lambda row: _covered(row, done))
        where = chosen(tracking, wandb)
        if where == "wandb":
            self.follower = _Wandb(folder, wandb.mode or "online", wandb.project, config)
        elif where == "tensorboard":
            self.follower = _Tensorboard(folder / "tensorboard")
        if self.follower is not None:
            self.follower.begin(kept)

    def __call__(self, metrics: Row) -> None:
        """Record one row; ``metrics`` has an ``iteration``."""
        files.append_line(self.path, json.dumps(metrics))
        if self.follower is not None:
            self.follower.add(metrics)

    def forget(self, iteration: int) -> None:
        """Drop the rows after an iteration; wandb keeps them, and takes no others for the same iterations."""
        kept = self._keep(lambda row: bool(row["iteration"] <= iteration))
        if self.follower is not None:
            self.follower.begin(kept)

    def _keep(self, wanted: Callable[[Row], bool]) -> list[Row]:
        rows = files.read_rows(self.path) if self.path.exists() else []
        kept = [row for row in rows if wanted(row)]
        files.write_text(self.path, "".join(f"{json.dumps(row)}\n" for row in kept))
        return kept

    def close(self, picture: Path, summary: Row) -> None:
        """Hand on the image grid and the headline numbers."""
        if self.follower is not None:
            self.follower.close(picture, summary)


def _covered(row: dict[str, Any], done: Progress) -> bool:
    """Whether the checkpoints hold what a row says: what they do not is done, and written, once more."""
    if "accuracy" in row:
        return row["iteration"] in done.evaluated
    return bool(row["iteration"] <= done.iteration)


class _Tensorboard:
    """Event files below a run's folder, written anew from the rows on record whenever a run starts or goes back: so
    the curves are those of ``metrics.jsonl``, whenever tracking was switched on, and no row is there twice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: Any = None

    def begin(self, rows: Iterable[Row]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self.writer is not None:
            self.writer.close()
        for path in self.folder.glob("events.*"):
            path.unlink()
        self.writer = SummaryWriter(str(self.folder), purge_step=0)  # A TensorBoard that is open forgets the old files.
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        for name, value in row.items():
            if name != "iteration":
                self.writer.add_scalar(name, value, row["iteration"])

    def close(self, picture: Path, summary: Row) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(picture) as image:
            self.writer.add_image("synthetic", np.asarray(image.convert("RGB")), dataformats="HWC")
        self.writer.close()


class _Wandb:
    """A wandb run, continued where the folder already has one."""

    def __init__(self, folder: Path, mode: Literal["disabled", "offline", "online"], project: str, config: Row) -> None:
        import wandb

        known = folder / "wandb_id.txt"
        if not known.exists():
            files.write_text(known, uuid.uuid4().hex[:8])
        try:
            self.run: Any = wandb.init(
                project=project,
                mode=mode,
                dir=str(folder),
                config=config,
                name="/".join(folder.parts[-5:]),
                id=known.read_text(encoding="utf-8"),
                resume="allow" if mode == "online" else None,
            )
        except wandb.errors.Error as error:  # Not logged in, a key that is refused, no network.
            raise SettingError(
                f"wandb.mode={mode}: {error} -- or use wandb.mode=offline and 'wandb sync' later"
            ) from error

    def begin(self, rows: Iterable[Row]) -> None:
        """It has them."""

    def add(self, row: Row) -> None:
        self.run.log(row, step=row["iteration"])

    def close(self, picture: Path, summary: Row) -> None:
        import wandb

        self.run.log({"synthetic": wandb.Image(str(picture))})
        self.run.summary.update(summary)
        self.run.finish()
