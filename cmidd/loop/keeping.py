"""Keeping what a distillation reaches on the way: checkpoints, and the accuracies of its evaluations."""

import statistics
import time
from pathlib import Path

from cmidd.loop.pace import Observer, Pace
from cmidd.loop.state import State
from cmidd.utils import clock


class Keeping:
    """Saves the state every ``checkpoint_seconds``, around every evaluation, and at the end."""

    def __init__(self, state: State, checkpoint: Path, pace: Pace, observer: Observer) -> None:
        self.state, self.checkpoint, self.pace, self.observer = state, checkpoint, pace, observer
        self.saved = time.monotonic()

    def catch_up(self) -> None:
        """Evaluate now what should have been when the run was stopped."""
        first = self.state.iteration
        if first > 0 and self.pace.evaluates(first) and str(first) not in self.state.about["evaluations"]:
            self.evaluate()
        self.saved = time.monotonic()

    def due(self, done: int) -> bool:
        """Whether it is time to save."""
        late = time.monotonic() - self.saved > self.pace.checkpoint_seconds
        return self.pace.evaluates(done) or done == self.pace.iterations or late

    def save(self) -> None:
        """Write the checkpoint."""
        self.state.save(self.checkpoint)
        self.saved = time.monotonic()

    def evaluate(self) -> None:
        """Evaluate the set, and keep the accuracies."""
        about, began = self.state.about, time.monotonic()
        done = str(about["iteration"])
        with clock.timed("evaluation"):
            about["evaluations"][done] = self.observer.evaluate(about["iteration"])
        about["evaluated_at"][done] = about["seconds"]
        about["evaluation_seconds"] += time.monotonic() - began
        self.state.save(self.checkpoint)

    @property
    def accuracy(self) -> dict[str, float]:
        """The mean accuracy of the last evaluation, in per cent, by its name; nothing before the first."""
        found = self.state.about["evaluations"]
        return {"accuracy": statistics.fmean(found[max(found, key=int)])} if found else {}

    def seconds_to_come(self) -> float | None:
        """How long the evaluations to come take, by those that were; None where there was none, and there will be."""
        about = self.state.about
        to_come = len(self.pace.evaluations) - len(about["evaluations"])
        if not about["evaluations"]:
            return None if to_come else 0.0
        return to_come * float(about["evaluation_seconds"]) / len(about["evaluations"])
