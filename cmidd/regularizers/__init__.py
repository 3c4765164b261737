"""Terms that are added to any objective: CMI, and those that ``regularizer=`` adds, by their name."""

from cmidd.regularizers.base import Regularizer

__all__ = ["REGULARIZERS", "Regularizer"]

REGULARIZERS: dict[str, type[Regularizer]] = {}
