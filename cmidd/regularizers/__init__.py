"""Terms that are added to any objective: CMI, and those that ``regularizer=`` adds, by their name."""

from cmidd.regularizers.base import Regularizer
from cmidd.regularizers.iid import IID
from cmidd.regularizers.mim4dd import MIM4DD

__all__ = ["REGULARIZERS", "Regularizer"]

REGULARIZERS: dict[str, type[Regularizer]] = {"iid": IID, "mim4dd": MIM4DD}
