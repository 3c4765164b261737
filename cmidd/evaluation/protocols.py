"""Evaluation protocols: how networks are trained on a set, and how many."""

from dataclasses import dataclass
from typing import Literal

from cmidd.compute.training import TrainingRecipe
from cmidd.evaluation.train_on_set import Optimizer
from cmidd.utils.setting_types import Count


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a run is evaluated (methods.md section 5).

    ``repeats`` networks every ``interval`` iterations and at the end; a learned step size replaces
    ``training.lr``. ``baselines`` says which are measured beside: ``random`` real images, trained on like the
    synthetic set, and the ``whole`` data set, trained on by the recipe ``whole`` (hours on a CPU, but for the digits).
    ``optimizer`` is what a network takes from one stage of a set to the next. ``tests``: how often a network is tested
    while it trains, at equal distances, the last time at its end. ``selection``: which of them counts, the ``last``, or
    the one that is best on a ``held_out`` part of the training set.
    """

    repeats: Count
    interval: Count
    training: TrainingRecipe
    whole: TrainingRecipe
    baselines: tuple[Literal["random", "whole"], ...] = ("random",)
    optimizer: Optimizer = "fresh"
    tests: Count = 1
    selection: Literal["last", "held_out"] = "last"
