"""Going back to an earlier state where numbers went wrong."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from cmidd.loop.divergence import CHECK_INTERVAL, Diverged
from cmidd.loop.state import State

log = logging.getLogger(__name__)
MOST_ROLLBACKS = 3  # in a row to the same state


class Rollback:
    """With ``on_nan=rollback`` the run goes back to the state in which it began the current twentieth of its
    iterations (ten at least), which lies beside the checkpoint, and on from there with other random draws and half the
    step sizes for the rest of the run; when three rollbacks in a row do not bring it into the next twentieth, it stops
    all the same. Where it goes back to depends on iterations alone, not on when a checkpoint was due: so a run that was
    killed goes back to the same state.

    Args:
        forget_metrics: called with an iteration: what was logged after it is void.
    """

    def __init__(
        self,
        state: State,
        checkpoint: Path,
        iterations: int,
        on_nan: Literal["stop", "rollback"],
        forget_metrics: Callable[[int], None],
    ) -> None:
        self.state, self.checkpoint, self.iterations, self.on_nan = state, checkpoint, iterations, on_nan
        self.forget_metrics = forget_metrics
        self.good = checkpoint.with_name(f"good{checkpoint.name.removeprefix('checkpoint')}")
        self.interval = CHECK_INTERVAL * max(1, iterations // (20 * CHECK_INTERVAL))

    def marks(self, done: int) -> bool:
        """Whether a twentieth ends after so many iterations."""
        return self.on_nan == "rollback" and done % self.interval == 0

    def begin(self) -> None:
        """Remember the state that the run begins with."""
        first = self.state.iteration
        if first < self.iterations and self.on_nan == "rollback" and (self.marks(first) or not self.good.exists()):
            self.state.save(self.good)

    def passed(self, done: int) -> None:
        """A twentieth was passed: rollbacks are counted anew."""
        if self.marks(done):
            self.state.about["rollbacks_in_a_row"] = 0

    def mark(self, done: int) -> None:
        """Remember the state at the end of a twentieth."""
        if self.marks(done):
            self.state.save(self.good)

    def back(self, error: Diverged) -> None:
        """Go back.

        Raises:
            Diverged: when this is not wanted, or did not help.
        """
        counts, checkpoint = self.state.about, self.checkpoint
        if self.on_nan == "stop" or counts["rollbacks_in_a_row"] == MOST_ROLLBACKS:
            kept = f"{checkpoint} holds the last good state" if checkpoint.exists() else "nothing was saved before"
            other = (
                "or on_nan=rollback" if self.on_nan == "stop" else f"{MOST_ROLLBACKS} rollbacks in a row did not help"
            )
            raise Diverged(f"{error}, with overwrite=true, {other}; {kept}") from error
        newer = {name: counts[name] for name in ("seconds", "evaluation_seconds")}
        newer |= {name: counts[name] + 1 for name in ("rollbacks", "rollbacks_in_a_row")}
        self.state.load(self.good, **newer)
        self.state.watch.forget()
        log.warning("%s -- back to iteration %d, with half the step sizes", error, counts["iteration"])
        self.state.save(checkpoint)
        self.forget_metrics(counts["iteration"])  # A resumed run forgets what its checkpoint does not hold by itself.

    def end(self) -> None:
        """Remove what lies beside the checkpoint once the run is over."""
        if self.state.iteration == self.iterations:
            self.good.unlink(missing_ok=True)
