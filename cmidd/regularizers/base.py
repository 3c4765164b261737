"""What a regulariser is given, and what it returns."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from cmidd.objectives.base import Context, Match
from cmidd.teachers import TeacherPool


class Teachers(Protocol):
    """The pre-trained networks of a run."""

    def __call__(self, **changes: Any) -> TeacherPool:
        """CMI's pool, or one whose training differs from that of CMI's by ``changes``
        (:class:`cmidd.training.TrainingRecipe`); trained when first asked for, and shared by all who ask for the same.
        """


class Regularizer(ABC):
    """A term of the loss: its keyword arguments are the settings of ``configs/regularizer/<name>.yaml``.

    Attributes:
        name: of its settings, its metric and its random stream.
        needs: what the match must hold (:attr:`cmidd.objectives.base.Objective.gives`).
        per_class_images: of how many training images of a class it first means anything.
        taught: whether it asks for teachers, which must then fit the images.
    """

    name: str
    needs: ClassVar[frozenset[str]] = frozenset()
    per_class_images: ClassVar[int] = 1
    taught: ClassVar[bool] = False

    @abstractmethod
    def __init__(self, context: Context, teachers: Teachers, **settings: Any) -> None: ...

    @abstractmethod
    def __call__(self, match: Match, generator: torch.Generator) -> Tensor:
        """The term before its weight: per class ``[C]``, added to the objective's loss of that class, or a scalar
        about the whole set, added ``match.scale`` times.
        """
