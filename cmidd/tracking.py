"""Metrics of a run: always a local JSON-lines file, and wandb where it is switched on."""

import json
from pathlib import Path
from typing import Any, Literal


class Tracker:
    """Appends metrics to ``metrics.jsonl``; a resumed run first drops what its checkpoint does not cover."""

    def __init__(
        self,
        folder: Path,
        resume_at: int,
        wandb_mode: Literal["disabled", "offline", "online"],
        project: str,
        config: dict[str, Any],
    ) -> None:
        self.path = folder / "metrics.jsonl"
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["iteration"] <= resume_at]
        self.path.write_text("".join(kept))
        self.wandb: Any = None
        if wandb_mode != "disabled":
            import wandb

            self.wandb = wandb.init(
                project=project, mode=wandb_mode, dir=str(folder), config=config, name="/".join(folder.parts[-5:])
            )

    def __call__(self, metrics: dict[str, Any]) -> None:
        """Record one row; ``metrics`` has an ``iteration``."""
        with self.path.open("a") as file:
            file.write(json.dumps(metrics) + "\n")
        if self.wandb is not None:
            self.wandb.log(metrics, step=metrics["iteration"])

    def close(self, picture: Path, summary: dict[str, Any]) -> None:
        """Hand the image grid and the headline numbers to wandb."""
        if self.wandb is not None:
            import wandb

            self.wandb.log({"synthetic": wandb.Image(str(picture))})
            self.wandb.summary.update(summary)
            self.wandb.finish()
