"""How long a run takes, from a few steps of each kind of its work, on its own data."""

import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from cmidd.bench.workloads import method_steps, timed_step, training_steps
from cmidd.buffers.teachers import TeacherPools, teacher_recipe
from cmidd.compute.engine import using
from cmidd.compute.recipe import TrainingRecipe
from cmidd.core.context import Context
from cmidd.evaluation.chosen_images import RULES
from cmidd.methods import METHODS
from cmidd.runs.beforehand import Timed
from cmidd.runs.build import expert_settings, fitting_engine, make_regularizers
from cmidd.runs.settings import Settings
from cmidd.samplers.random import RandomSampler

STEPS = 3  # that are timed, after one that is not: it compiles, and fills caches
BATCHES = 2  # of a training, whose time is extended to the whole set
MATCHED, EXPERT_IMAGES = 300, 26  # real images of a class at least: for matches, and for experts alone


def timed_steps(settings: Settings, context: Context) -> Timed:
    """Seconds of the parts of a run.

    The experts and teachers that the steps need are trained on a few images, in a folder that is removed. Random real
    images are matched, whatever the sampler: what one costs beside is not in it.
    """
    experts, cmi = expert_settings(settings), settings.cmi
    with tempfile.TemporaryDirectory() as folder, using(fitting_engine(settings, context)):
        kind = METHODS[settings.method["name"]]
        matched = max(MATCHED, settings.arguments.get("batch_real", 0))
        small = _small(context, Path(folder), max(settings.ipc, matched if "real" in kind.gives else EXPERT_IMAGES))
        method = kind(small, **kind.shortest(settings.arguments))
        teachers = TeacherPools(small, cmi.teacher, 1, 1, cmi.teachers)
        step = _median(method_steps(small, method, make_regularizers(settings, small, teachers)), small)
        protocol = settings.evaluation
        own = _median(training_steps(small, small.synthetic.decode(), protocol.training, 1), small)
        taught = replace(small, network=small.options_of(cmi.teacher))
        return Timed(
            iteration=step * method.main_steps,
            evaluation=own * len(protocol.training.learning_rates),
            whole=_training(small, context, protocol.whole) if "whole" in protocol.baselines else 0.0,
            features=0.0
            if RULES.keys().isdisjoint(protocol.baselines)
            else _training(small, context, protocol.features.recipe),
            expert=_training(small, context, experts.training) if experts else 0.0,
            teacher=_training(taught, context, teacher_recipe(cmi.epochs))
            if settings.taught and not cmi.teachers
            else 0.0,
        )


def _small(context: Context, buffers: Path, per_class: int) -> Context:
    """The same world with fewer images, whose caches go elsewhere."""
    few = torch.cat([members[:per_class] for members in context.data.class_members])
    data = replace(context.data, train=context.data.train.subset(few.to(context.data.device)))
    return replace(context, data=data, buffers=buffers, sampler=RandomSampler(data))


def _training(small: Context, context: Context, recipe: TrainingRecipe) -> float:
    """Seconds of training a network on the whole training set, from those of a few batches."""
    train = context.data.train
    few = train.subset(slice(BATCHES * recipe.batch))
    passes = len(recipe.learning_rates) * len(train) / len(few)
    return _median(training_steps(small, few, recipe, 1), small) * passes


def _median(work: Iterator[None], context: Context) -> float:
    timed_step(work, context.data.device)
    return statistics.median(timed_step(work, context.data.device) for _ in range(STEPS))
