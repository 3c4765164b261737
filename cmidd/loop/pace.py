"""The pace of a distillation, and who is told of it."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Pace:
    """How long a stage is distilled, and what is done on the way.

    Attributes:
        eval_interval: iterations between two evaluations; ``evaluate_last``: after the last one in any case.
        checkpoint_seconds: between two checkpoints.
        on_nan: what is done where numbers go wrong (:class:`cmidd.loop.rollback.Rollback`).
        balance_steps, measure: as :class:`cmidd.loop.balance.Balance` has them.
    """

    iterations: int
    eval_interval: int
    evaluate_last: bool = True
    checkpoint_seconds: float = 60.0
    on_nan: Literal["stop", "rollback"] = "stop"
    balance_steps: int = 10
    measure: bool = False

    def evaluates(self, done: int) -> bool:
        """Whether the set is evaluated after so many iterations."""
        return done % self.eval_interval == 0 or (self.evaluate_last and done == self.iterations)

    @property
    def evaluations(self) -> list[int]:
        """After how many iterations the set is evaluated, in order."""
        every = range(self.eval_interval, self.iterations + 1, self.eval_interval)
        return [*every, *([self.iterations] if self.evaluate_last and self.iterations % self.eval_interval else [])]


class Observer(Protocol):
    """What is told of a distillation."""

    def evaluate(self, iteration: int) -> list[float]:
        """The accuracies of the set as it is."""

    def metrics(self, row: dict[str, Any]) -> None:
        """What was measured in an iteration."""

    def forget(self, iteration: int) -> None:
        """The metrics after an iteration are void."""
