"""Training on a synthetic set, stage after stage."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cmidd.compute.losses import corrected
from cmidd.compute.recipe import TrainingRecipe, hashed_form
from cmidd.compute.together import train_together
from cmidd.compute.training import Teacher
from cmidd.data.split import Split
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

TrainingStage = tuple[Split, TrainingRecipe]
"""Images to train on, and how."""

PART = 1000  # images that are hashed at a time
LABELLED = 500  # images that a teacher labels at a time

Optimizer = Literal["fresh", "carried"]
"""What a stage after the first begins with: an optimiser of its own, or the momentum of the stage before."""


def digest(stages: Sequence[TrainingStage]) -> str:
    """Names the images, labels (soft ones too) and recipes of ``stages``."""
    found = hashlib.sha256()
    for data, recipe in stages:
        for part in data.parts(PART):
            found.update(part.images.cpu().numpy().tobytes())
        found.update(data.labels.cpu().numpy().tobytes())
        if data.soft is not None:
            found.update(data.soft.detach().cpu().numpy().tobytes())
        found.update(hashed_form(recipe).encode())
    return found.hexdigest()


def train_through(
    networks: Sequence[nn.Module],
    stages: Sequence[TrainingStage],
    streams: Sequence[Streams],
    *,
    what: str | None,
    optimizer: Optimizer = "fresh",
    teacher: Teacher | None = None,
    after: Callable[[int], None] | None = None,
) -> None:
    """Train networks in place on one stage after the other; learning rates begin anew with each.

    Each is trained by streams of its own; several are at once
    (:class:`cmidd.compute.together.TogetherTraining`).

    Args:
        teacher: gives the labels of stages whose recipes ask for one.
        after: is called after each pass over the images with how many there were so far, in all stages.
    """
    carried, before = None, 0
    for number, (data, recipe) in enumerate(stages):
        own = [each.child("lesson", number) for each in streams] if number else streams
        if teacher is not None and recipe.targets == "corrected":
            data = dataclasses.replace(data, soft=corrected(labelled(data, teacher), data.labels))
        counting = None if after is None else functools.partial(_counted, after, before)
        used = train_together(
            networks, data, recipe, own, what=what, optimizer=carried, teacher=teacher, after=counting
        )
        carried = used if optimizer == "carried" else None
        before += len(recipe.learning_rates)


@torch.no_grad()
def labelled(data: Split, teacher: Teacher) -> Tensor:
    """A teacher's logits ``[N, C]`` of images as they are."""
    return torch.cat([teacher(part.images) for part in data.parts(LABELLED)])


def _counted(after: Callable[[int], None], before: int, done: int) -> None:
    after(before + done)


def training_passes(stages: Sequence[TrainingStage]) -> int:
    """How often a network goes over its images, through all ``stages``."""
    return sum(len(recipe.learning_rates) for _, recipe in stages)


def training_steps(stages: Sequence[TrainingStage]) -> int:
    """How many gradient steps a network takes through ``stages``."""
    return sum(len(recipe.learning_rates) * math.ceil(len(data) / recipe.batch) for data, recipe in stages)


def stages_of(synthetic: SyntheticSet, recipe: TrainingRecipe) -> list[TrainingStage]:
    """How to train on a synthetic set: stage after stage, each by the recipe with the stage's learned step size,
    where it has one (MTT).

    Raises:
        SettingError: when a learned step size is not a positive number.
    """
    stages = []
    for data, learned in synthetic.decode_stages():
        lr = recipe.lr if learned is None else float(learned.detach())
        if not 0 < lr < math.inf:
            raise SettingError(f"training.lr: the set's learned step size is {lr:g}; give a positive number instead")
        stages.append((data, dataclasses.replace(recipe, lr=lr)))
    return stages
