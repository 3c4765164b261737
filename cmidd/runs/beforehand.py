"""What a run needs before its first iteration or a later stage: what is there of it, and how long the rest takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cmidd.buffers.experts import Experts
from cmidd.buffers.teachers import pool_files, teacher_recipe
from cmidd.compute.engine import Engine, using
from cmidd.core.context import Context
from cmidd.data.dataset import Dataset
from cmidd.evaluation.baselines import baseline_file
from cmidd.evaluation.chosen_images import RULES
from cmidd.evaluation.feature_networks import feature_files
from cmidd.loop.checkpoints import progress_of
from cmidd.runs.build import expert_settings, fitting_engine
from cmidd.runs.run_folder import overwrites
from cmidd.runs.settings import Settings
from cmidd.utils import cache


@dataclass(frozen=True)
class Timed:
    """Seconds of an iteration, of the evaluation of one network, of training one on the whole data set (the baseline),
    and of training an expert, a teacher and a network in whose features baselines are chosen; 0 where the run has none.
    """

    iteration: float
    evaluation: float
    whole: float
    expert: float
    teacher: float
    features: float


@dataclass(frozen=True)
class Part:
    """A part of a run: what it is, what is there of it, and the seconds of the rest (None: nothing tells).

    ``place``: where it lies, if runs share it.
    """

    what: str
    state: str
    seconds: float | None
    place: Path | None = None


def before(
    settings: Settings, context: Context, timed: Timed | None = None, engine: Engine | None = None
) -> list[Part]:
    """What a run needs before its first iteration, and its baselines.

    Args:
        engine: of the run, where it is chosen already.
    """
    cmi = settings.cmi
    found = [Part("data", _data(settings, context.data), 0.0)]
    with using(engine or fitting_engine(settings, context)):
        if experts := expert_settings(settings):
            buffer = Experts(context, experts, make=False)
            paths = [buffer.folder / path.name for path in buffer.paths]
            made = buffer.count - buffer.missing, paths, buffer.length - 1, buffer.made_by
            found.append(_made("experts", *made, None if timed is None else timed.expert))
        found += experts_of_stages(settings, timed)
        if settings.taught and cmi.teachers is not None:
            found.append(Part("teachers", f"{cmi.pool} from files", 0.0))
        else:
            found += _teachers(settings, context, None if timed is None else timed.teacher)
        found += _baselines(settings, context, timed)
    return found


def _teachers(settings: Settings, context: Context, seconds: float | None) -> Iterator[Part]:
    """Every pool that a term of the loss asks for, those of several once."""
    cmi, own = settings.cmi, teacher_recipe(settings.cmi.epochs)
    recipes = (replace(own, **changes) for changes in settings.taught_with)
    pools = (pool_files(context, cmi.teacher, cmi.pool, recipe) for recipe in recipes)
    for made_by, paths in {paths[0].parent: (made_by, paths) for made_by, paths in pools}.values():
        yield _made("teachers", sum(path.exists() for path in paths), paths, cmi.epochs, made_by, seconds)


def _baselines(settings: Settings, context: Context, timed: Timed | None) -> Iterator[Part]:
    """The baselines that are asked for, after the networks in whose features some are still to be chosen."""
    protocol = settings.evaluation
    places = {kind: baseline_file(context, protocol, settings.ipc, kind)[0] for kind in protocol.baselines}
    if any(kind in RULES and not place.exists() for kind, place in places.items()):
        made_by, paths = feature_files(context, protocol.features)
        made = sum(path.exists() for path in paths), paths, protocol.features.epochs, made_by
        features = _made("baseline", *made, None if timed is None else timed.features)
        yield replace(features, state=f"networks for features, {features.state}")
    for kind, place in places.items():
        measured = place.exists()
        epochs = (protocol.whole if kind == "whole" else protocol.training).epochs
        each = None if timed is None else timed.whole if kind == "whole" else timed.evaluation
        state = "measured" if measured else f"to measure, {networks_of(protocol.repeats, epochs)}"
        yield Part("baseline", f"{kind}, {state}", 0.0 if measured else each and protocol.repeats * each, place)


def _data(settings: Settings, data: Dataset) -> str:
    """How many images of what there are, and what networks are tested on."""
    sizes, (channels, height, width) = [len(members) for members in data.class_members], data.image_shape
    each = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    held_out = f"{len(data.test)} {data.held_out} images"
    if data.held_out == "validation":
        held_out += f" (dataset.validation={settings.dataset['validation']:g})"
    place = settings.data.root if data.name == "folder" else data.origin
    return (
        f"{len(data.train)} training images {channels}x{height}x{width} of {data.num_classes} classes ({each} of a "
        f"class), tested on {held_out}{f', from {place}' if place else ''}"
    )


def _made(
    what: str, there: int, paths: Sequence[Path], epochs: int, made_by: Mapping[str, Any], seconds: float | None
) -> Part:
    missing, folder = len(paths) - there, paths[0].parent
    work = f"{missing} to train for {epochs} epochs each, into " if missing else ""
    near = "" if there else cache.nearest(folder, made_by)
    state = f"{there} of {len(paths)} there, {work}{folder}{near}"
    return Part(what, state, 0.0 if not missing else None if seconds is None else missing * seconds, folder)


def experts_of_stages(settings: Settings, timed: Timed | None) -> Iterator[Part]:
    """The experts of stages that have not begun: they start from networks that were trained through those before."""
    stages = stages_to_come(settings, progress(settings)[0])
    experts = {stage: own for stage in stages if (own := expert_settings(settings, stage))}
    if experts:
        which = f"stage {stages[0] + 1}" if len(stages) == 1 else f"stages {stages[0] + 1} to {stages[-1] + 1}"
        seconds = None
        if timed and (first := expert_settings(settings)):
            epochs = sum(own.count * len(own.training.learning_rates) for own in experts.values())
            seconds = timed.expert * epochs / len(first.training.learning_rates)
            seconds += sum(warming(settings, stage, own.count, timed) for stage, own in experts.items())
        count = sum(own.count for own in experts.values())
        yield Part("experts", f"of {which}: {count} to train, each stage's when it begins", seconds)


def stages_to_come(settings: Settings, at: int) -> range:
    """The numbers of the stages after the first that have not begun."""
    return range(max(1, -(-at // settings.iterations)), len(settings.stage_sizes))


def warming(settings: Settings, stage: int, count: int | None, timed: Timed) -> float:
    """Seconds of training ``count`` networks through the stages before, or as many as the schedule has."""
    training = settings.evaluation.training
    most, epochs = settings.stages.warm_networks(stage, training)
    each = timed.evaluation / len(training.learning_rates)
    return (most if count is None else count) * epochs * each


def progress(settings: Settings) -> tuple[int, int]:
    """The iteration that a run is at, and how many it has in all stages."""
    at = 0 if settings.overwrite and not overwrites(settings) else progress_of(settings.folder).iteration
    return at, settings.iterations * len(settings.stage_sizes)


def networks_of(count: int, epochs: int) -> str:
    """So many networks, in words."""
    return f"{count} network{'' if count == 1 else 's'} of {epochs} epochs"
