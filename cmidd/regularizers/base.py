"""What a regulariser is given, and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from cmidd.objectives.base import Context, Match
from cmidd.teachers import TeacherPool


class Regularizer(ABC):
    """A term of the loss: its keyword arguments are the settings of ``configs/regularizer/<name>.yaml``.

    Attributes:
        name: of its settings, its metric and its random stream.
        needs: what the match must hold (:attr:`cmidd.objectives.base.Objective.gives`).
        per_class_images: of how many training images of a class it first means anything.
    """

    name: str
    needs: ClassVar[frozenset[str]] = frozenset()
    per_class_images: ClassVar[int] = 1

    @abstractmethod
    def __init__(self, context: Context, teachers: Callable[[], TeacherPool], **settings: Any) -> None:
        """``teachers()`` gives the pool that all regularisers share, trained when first asked for."""

    @abstractmethod
    def __call__(self, match: Match, generator: torch.Generator) -> Tensor:
        """The term before its weight: per class ``[C]``, added to the objective's loss of that class, or a scalar
        about the whole set, added ``match.scale`` times.
        """
