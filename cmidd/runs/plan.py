"""The plan of a run: what is left of it, and how long that takes by what is on record."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cmidd.buffers.experts import Experts
from cmidd.buffers.teachers import pool_files, teacher_recipe
from cmidd.compute.engine import Engine, using
from cmidd.core.context import Context
from cmidd.data.dataset import Dataset
from cmidd.evaluation.baselines import baseline_file
from cmidd.evaluation.chosen_images import RULES
from cmidd.evaluation.feature_networks import feature_files
from cmidd.loop.checkpoints import progress_of
from cmidd.runs.additions import asked_beside
from cmidd.runs.build import expert_settings, fitting_engine
from cmidd.runs.costs import costs, kind_of
from cmidd.runs.recipes import refuse_soft_labels
from cmidd.runs.run_folder import read_finished, refuse_other_settings
from cmidd.runs.settings import Settings
from cmidd.runs.stages import evaluated_after


@dataclass(frozen=True)
class Plan:
    """What is left of one run; ``seconds_left`` is None where no record tells."""

    state: str
    seconds_left: float | None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to distil; baselines may be, which are asked for beside."""
        return self.state.startswith("done")


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
    """A part of a run: what it is, what is there of it, and the seconds of the rest (None: nothing tells)."""

    what: str
    state: str
    seconds: float | None


def plan(settings: Settings) -> Plan:
    """What is left of a run, at the seconds per iteration recorded for its like under ``results_root``.

    Raises:
        SettingError: when the run's folder holds one of other settings, or a run would refuse the settings.
    """
    folder = settings.folder
    refuse_soft_labels(settings)
    if not settings.overwrite:
        refuse_other_settings(settings)
        if (folder / "DONE").exists():
            beside = asked_beside(settings, read_finished(folder))
            return Plan(f"done, but for: {', '.join(beside)}", None) if beside else Plan("done", 0.0)
    at, iterations = progress(settings)
    left = _recorded(settings, at, iterations)
    state = f"goes on at iteration {at} of {iterations}" if at else "to do"
    return Plan(state, None if None in left else sum(left))  # type: ignore[arg-type]


def at_measured(settings: Settings, planned: Plan, timed: Timed | None) -> Plan:
    """A plan at measured seconds, without what runs share; as it was where nothing was measured."""
    if timed is None:
        return planned
    later = sum(part.seconds or 0.0 for part in _experts_of_stages(settings, timed))
    return Plan(planned.state, later + sum(_measured(settings, timed, *progress(settings))))


def parts(settings: Settings, planned: Plan, context: Context | None, timed: Timed | None = None) -> list[Part]:
    """Every part of a run that is not done, what there is of it, and how long the rest takes.

    Args:
        planned: the run's :func:`plan`.
        context: the world of the run; None where its data set is not here yet.
        timed: measured seconds, which go before recorded ones.
    """
    if planned.finished:
        return [] if planned.state == "done" else [Part("beside", planned.state.partition(": ")[2], None)]
    at, iterations = progress(settings)
    left = _recorded(settings, at, iterations) if timed is None else _measured(settings, timed, at, iterations)
    return [
        *(before(settings, context, timed) if context else [Part("data", "not here yet, is downloaded first", None)]),
        Part("distillation", f"{iterations - at} of {iterations} iterations", left[0]),
        Part("evaluation", evaluations(settings, at), left[1]),
    ]


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
            made = buffer.count - buffer.missing, buffer.count, buffer.length - 1, buffer.folder
            found.append(_made("experts", *made, None if timed is None else timed.expert))
        found += _experts_of_stages(settings, timed)
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
    pools = (pool_files(context, cmi.teacher, cmi.pool, recipe)[1] for recipe in recipes)
    for folder, paths in {paths[0].parent: paths for paths in pools}.items():
        there = sum(path.exists() for path in paths)
        yield _made("teachers", there, len(paths), cmi.epochs, folder, seconds)


def _baselines(settings: Settings, context: Context, timed: Timed | None) -> Iterator[Part]:
    """The baselines that are asked for, after the networks in whose features some are still to be chosen."""
    protocol = settings.evaluation
    there = {kind: baseline_file(context, protocol, settings.ipc, kind)[0].exists() for kind in protocol.baselines}
    if any(kind in RULES and not measured for kind, measured in there.items()):
        paths = feature_files(context, protocol.features)[1]
        made = sum(path.exists() for path in paths), len(paths), protocol.features.epochs, paths[0].parent
        features = _made("baseline", *made, None if timed is None else timed.features)
        yield replace(features, state=f"networks for features, {features.state}")
    for kind, measured in there.items():
        epochs = (protocol.whole if kind == "whole" else protocol.training).epochs
        each = None if timed is None else timed.whole if kind == "whole" else timed.evaluation
        state = "measured" if measured else f"to measure, {_networks(protocol.repeats, epochs)}"
        yield Part("baseline", f"{kind}, {state}", 0.0 if measured else each and protocol.repeats * each)


def _data(settings: Settings, data: Dataset) -> str:
    """How many images of what there are, and what networks are tested on."""
    sizes, (channels, height, width) = [len(members) for members in data.class_members], data.image_shape
    each = f"{min(sizes)}" if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    held_out = f"{len(data.test)} {data.held_out} images"
    if data.held_out == "validation":
        held_out += f" (dataset.validation={settings.dataset['validation']:g})"
    place = data.origin or {"folder": settings.data.root}.get(data.name)
    return (
        f"{len(data.train)} training images {channels}x{height}x{width} of {data.num_classes} classes ({each} of a "
        f"class), tested on {held_out}{f', from {place}' if place else ''}"
    )


def _made(what: str, there: int, count: int, epochs: int, folder: Path, seconds: float | None) -> Part:
    missing = count - there
    work = f"{missing} to train for {epochs} epochs each, into " if missing else ""
    state = f"{there} of {count} there, {work}{folder}"
    return Part(what, state, 0.0 if not missing else None if seconds is None else missing * seconds)


def progress(settings: Settings) -> tuple[int, int]:
    """The iteration that a run is at, and how many it has in all stages."""
    at = 0 if settings.overwrite else progress_of(settings.folder).iteration
    return at, settings.iterations * len(settings.stage_sizes)


def evaluations(settings: Settings, at: int) -> str:
    """How often a set is still evaluated, and with what."""
    protocol, left = settings.evaluation, sum(done > at for done in evaluated_after(settings))
    often = "once" if left == 1 else f"{left} times"
    return f"{often} {_networks(protocol.repeats, protocol.training.epochs)}"


def _networks(count: int, epochs: int) -> str:
    return f"{count} network{'' if count == 1 else 's'} of {epochs} epochs"


def _experts_of_stages(settings: Settings, timed: Timed | None) -> Iterator[Part]:
    """The experts of stages that have not begun: they start from networks that were trained through those before."""
    stages = _stages_to_come(settings, progress(settings)[0])
    experts = {stage: own for stage in stages if (own := expert_settings(settings, stage))}
    if experts:
        which = f"stage {stages[0] + 1}" if len(stages) == 1 else f"stages {stages[0] + 1} to {stages[-1] + 1}"
        seconds = None
        if timed and (first := expert_settings(settings)):
            epochs = sum(own.count * len(own.training.learning_rates) for own in experts.values())
            seconds = timed.expert * epochs / len(first.training.learning_rates)
            seconds += sum(_warming(settings, stage, own.count, timed) for stage, own in experts.items())
        count = sum(own.count for own in experts.values())
        yield Part("experts", f"of {which}: {count} to train, each stage's when it begins", seconds)


def _stages_to_come(settings: Settings, at: int) -> range:
    """The numbers of the stages after the first that have not begun."""
    return range(max(1, -(-at // settings.iterations)), len(settings.stage_sizes))


def _warming(settings: Settings, stage: int, count: int | None, timed: Timed) -> float:
    """Seconds of training ``count`` networks through the stages before, or as many as the schedule has."""
    training = settings.evaluation.training
    most, epochs = settings.stages.warm_networks(stage, training)
    each = timed.evaluation / len(training.learning_rates)
    return (most if count is None else count) * epochs * each


def _recorded(settings: Settings, at: int, iterations: int) -> tuple[float | None, float | None]:
    """Seconds left of the iterations and of the evaluations, by what is on record of this run and its like."""
    known = costs(Path(settings.results_root).absolute()).get(kind_of(settings.identity))
    per_iteration = known[0] if known else None
    if at:
        per_iteration = progress_of(settings.folder).seconds / at
    return None if per_iteration is None else per_iteration * (iterations - at), known[1] if known else None


def _measured(settings: Settings, timed: Timed, at: int, iterations: int) -> tuple[float, float]:
    """As :func:`_recorded`, at measured seconds; a network of an evaluation is trained on every stage so far."""
    trained = sum(-(-done // settings.iterations) for done in evaluated_after(settings) if done > at)
    in_stages = sum(
        _warming(settings, stage, None, timed)
        for stage in _stages_to_come(settings, at)
        if not expert_settings(settings, stage)
    )
    seconds = timed.iteration * (iterations - at) + in_stages
    return seconds, trained * settings.evaluation.repeats * timed.evaluation
