"""The objectives, by the name of their config file."""

from cmidd.objectives.base import Context, Match, Objective
from cmidd.objectives.dm import DM
from cmidd.objectives.gradient import GradientMatching
from cmidd.objectives.idc import IDC
from cmidd.objectives.idm import IDM
from cmidd.objectives.mtt import MTT

__all__ = ["OBJECTIVES", "Context", "Match", "Objective"]

OBJECTIVES: dict[str, type[Objective]] = {
    "dm": DM,
    "dc": GradientMatching,
    "dsa": GradientMatching,
    "mtt": MTT,
    "idm": IDM,
    "idc": IDC,
}
