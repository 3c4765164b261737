"""What a schedule says, and the one that trains the whole set at once."""

from abc import ABC, abstractmethod
from typing import Any

from cmidd.objectives.base import Context
from cmidd.training import TrainingRecipe


class Schedule(ABC):
    """An order of training: its keyword arguments are the settings of ``configs/schedule/<name>.yaml``."""

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

    def world(self, stage: int, context: Context, recipe: TrainingRecipe) -> Context:
        """What the objective of a stage is given; called before the stage's images join ``context.synthetic``.

        Args:
            recipe: how networks are trained on the set when it is evaluated.
        """
        return context


class Whole(Schedule):
    """One stage: the plain method."""

    def __init__(self) -> None: ...

    def sizes(self, ipc: int) -> list[int]:
        return [ipc]
