"""Evaluation protocols: how networks are trained on a set, and how many."""

from dataclasses import dataclass
from typing import Literal

from cmidd.compute.recipe import TrainingRecipe
from cmidd.evaluation.train_on_set import Optimizer
from cmidd.utils.setting_types import Count, Fraction, NonNegative, Positive

Kind = Literal["random", "herding", "kcenter", "forgetting", "kmeans", "whole"]
"""What a set is compared with: real images that are chosen so, or the whole data set."""


@dataclass(frozen=True)
class FeatureSettings:
    """The ``networks`` in whose features coresets are chosen: how many, and how they are trained on the whole training
    set, by SGD without augmentation.

    DeepCore trains for 200 epochs (Nesterov, learning rate 0.1 on a cosine), which takes a CPU many hours; step size,
    momentum, decay and batch here are those that a network of the protocols is trained with.
    """

    networks: Count = 1
    epochs: Count = 20
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 5e-4
    batch: Count = 256

    @property
    def recipe(self) -> TrainingRecipe:
        """How each is trained."""
        return TrainingRecipe(
            epochs=self.epochs,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            batch=self.batch,
        )


@dataclass(frozen=True)
class EvaluationProtocol:
    """How a run is evaluated.

    ``repeats`` networks every ``interval`` iterations and at the end; a learned step size replaces
    ``training.lr``. ``baselines`` says which are measured beside: ``random`` real images or those that a rule chooses
    (:mod:`cmidd.evaluation.coresets`, by networks as ``features`` says), trained on like the synthetic set, and the
    ``whole`` data set, trained on by the recipe ``whole`` (hours on a CPU, but for the digits).
    ``optimizer`` is what a network takes from one stage of a set to the next.
    ``tests``: how often a network is tested while it trains, at equal distances, the last time at its end.
    ``selection``: which of them counts, the ``last``, or the best one on a ``held_out`` part of the training set.
    """

    repeats: Count
    interval: Count
    training: TrainingRecipe
    whole: TrainingRecipe
    baselines: tuple[Kind, ...] = ("random",)
    optimizer: Optimizer = "fresh"
    features: FeatureSettings = FeatureSettings()
    tests: Count = 1
    selection: Literal["last", "held_out"] = "last"
