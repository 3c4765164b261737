"""The interface of a regulariser: a term of the loss."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.teachers import Teachers


class Regularizer(ABC):
    """A term of the loss: its keyword-only arguments are its settings, beside ``lambda`` and ``ratio``.

    Attributes:
        name: of its settings, its metric and its random stream.
        needs: what the match must hold (:attr:`cmidd.core.method.Method.gives`).
        per_class_images: of how many training images of a class it first means anything.
        taught: whether it asks for teachers, which must then fit the images.
        default_weight: where neither the command line nor a config says one.
    """

    name: str
    needs: ClassVar[frozenset[str]] = frozenset()
    per_class_images: ClassVar[int] = 1
    taught: ClassVar[bool] = False
    default_weight: ClassVar[float] = 1.0

    @abstractmethod
    def __init__(self, context: Context, teachers: Teachers, **settings: Any) -> None: ...

    @classmethod
    def images_needed(cls, settings: Mapping[str, Any]) -> int:
        """:attr:`per_class_images` with such settings, where they change it."""
        return cls.per_class_images

    @classmethod
    def teacher_changes(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """With which changes it asks for teachers, with such settings: a dry run counts what is there of them."""
        return {}

    @abstractmethod
    def __call__(self, match: Match, generator: torch.Generator) -> Tensor:
        """The term before its weight: per class ``[C]``, added to the method's loss of that class, or a scalar
        about the whole set, added ``match.scale`` times.
        """
