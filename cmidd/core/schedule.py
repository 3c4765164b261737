"""The interface of a schedule: stages of a synthetic set."""

from abc import ABC, abstractmethod
from typing import Any

from cmidd.compute.recipe import TrainingRecipe
from cmidd.core.context import Context


class Schedule(ABC):
    """An order of training: its keyword-only arguments are its settings."""

    @abstractmethod
    def __init__(self, **settings: Any) -> None: ...

    @abstractmethod
    def sizes(self, ipc: int) -> list[int]:
        """Images per class of every stage, in order; their sum is ``ipc``.

        Raises:
            SettingError: when ``ipc`` cannot be divided so.
        """

    def method_settings(self, stage: int) -> dict[str, Any]:
        """Settings of the method that hold in a stage instead of those of the run."""
        return {}

    def warm_networks(self, stage: int, recipe: TrainingRecipe) -> tuple[int, int]:
        """How many networks a stage trains through those before it, at most, and for how many epochs each; where the
        method has experts it is these.
        """
        return 0, 0

    def stage_context(self, stage: int, context: Context, recipe: TrainingRecipe) -> Context:
        """What the method of a stage is given; called before the stage's images join ``context.synthetic``.

        Args:
            recipe: how networks are trained on the set when it is evaluated.
        """
        return context
