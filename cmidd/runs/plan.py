"""The plan of a run: what is left of it, and how long that takes by what is on record."""

import functools
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from cmidd.buffers.experts import Experts
from cmidd.buffers.teachers import pool_files, teacher_recipe
from cmidd.compute.engine import Engine, using
from cmidd.core.context import Context
from cmidd.data.dataset import Dataset
from cmidd.evaluation.baselines import baseline_file
from cmidd.loop.checkpoints import progress_of
from cmidd.runs.additions import asked_beside
from cmidd.runs.build import expert_settings, fitting_engine
from cmidd.runs.identity import BASELINE, dataset_name, strength, system
from cmidd.runs.recipes import refuse_soft_labels
from cmidd.runs.record import read_record
from cmidd.runs.run_folder import read_finished, refuse_other_settings
from cmidd.runs.settings import Settings
from cmidd.utils import files
from cmidd.utils.checking import validate
from cmidd.utils.setting_types import Count, NonNegative


class BenchCell(TypedDict):
    method: str
    dataset: str
    ipc: Count
    cmi: NonNegative
    seconds_per_iteration: NonNegative


class BenchTable(TypedDict):
    cells: list[BenchCell]


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
    and of training an expert and a teacher; 0 where the run has none.
    """

    iteration: float
    evaluation: float
    whole: float
    expert: float
    teacher: float


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
    return Plan(planned.state, sum(_measured(settings, timed, *progress(settings))))


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
        Part("evaluation", evaluations(settings, at, iterations), left[1]),
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
            seconds = None if timed is None else timed.expert
            there, epochs = buffer.count - buffer.missing, buffer.length - 1
            found.append(_made("experts", there, buffer.count, epochs, buffer.folder, seconds))
        if settings.taught and cmi.teachers is not None:
            found.append(Part("teachers", f"{cmi.pool} from files", 0.0))
        elif settings.taught:
            _, paths = pool_files(context, cmi.teacher, cmi.pool, teacher_recipe(cmi.epochs))
            seconds = None if timed is None else timed.teacher
            there = sum(p.exists() for p in paths)
            found.append(_made("teachers", there, len(paths), cmi.epochs, paths[0].parent, seconds))
        for kind in settings.evaluation.baselines:
            path, _ = baseline_file(context, settings.evaluation, settings.ipc, kind)
            measured, protocol = path.exists(), settings.evaluation
            seconds = None
            if timed is not None:
                seconds = protocol.repeats * (timed.whole if kind == "whole" else timed.evaluation)
            epochs = (protocol.whole if kind == "whole" else protocol.training).epochs
            state = "measured" if measured else f"to measure, {_networks(protocol.repeats, epochs)}"
            found.append(Part("baseline", f"{kind}, {state}", 0.0 if measured else seconds))
    return found


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
    state = f"{there} of {count} there, {folder}"
    if missing:
        state = f"{there} of {count} there, {missing} to train for {epochs} epochs each, into {folder}"
    return Part(what, state, 0.0 if not missing else None if seconds is None else missing * seconds)


def progress(settings: Settings) -> tuple[int, int]:
    """The iteration that a run is at, and how many it has in all stages."""
    at = 0 if settings.overwrite else progress_of(settings.folder).iteration
    return at, settings.iterations * len(settings.stage_sizes)


def evaluations(settings: Settings, at: int, iterations: int) -> str:
    """How often a set is still evaluated, and with what."""
    protocol, left = settings.evaluation, _evaluations_left(settings, at, iterations)
    often = "once" if left == 1 else f"{left} times"
    return f"{often} {_networks(protocol.repeats, protocol.training.epochs)}"


def _networks(count: int, epochs: int) -> str:
    return f"{count} network{'' if count == 1 else 's'} of {epochs} epochs"


def _evaluations_left(settings: Settings, at: int, iterations: int) -> int:
    every = settings.evaluation.interval
    return iterations // every - at // every + (iterations % every > 0)


def _recorded(settings: Settings, at: int, iterations: int) -> tuple[float | None, float | None]:
    """Seconds left of the iterations and of the evaluations, by what is on record of this run and its like."""
    known = costs(Path(settings.results_root).absolute()).get(kind_of(settings.identity))
    per_iteration = known[0] if known else None
    if at:
        per_iteration = progress_of(settings.folder).seconds / at
    return None if per_iteration is None else per_iteration * (iterations - at), known[1] if known else None


def _measured(settings: Settings, timed: Timed, at: int, iterations: int) -> tuple[float, float]:
    """As :func:`_recorded`, at measured seconds."""
    networks = _evaluations_left(settings, at, iterations) * settings.evaluation.repeats
    return timed.iteration * (iterations - at), timed.evaluation * networks


@functools.cache
def costs(results_root: Path) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Median seconds of an iteration, and of all evaluations of a run, for every kind of run on record.

    From ``result.json`` files, and for kinds without one from the tables of ``bench.py``, which know no evaluation.
    """
    found: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
    for path in results_root.rglob("result.json"):
        record = read_record(path)
        if record.seconds is not None:
            per_iteration = record.seconds / record.last["iteration"]
            found[kind_of(record.settings)].append((per_iteration, record.evaluation_seconds or 0.0))
    for path in results_root.glob("bench*.json"):
        for cell in validate(path, files.read_json(path), BenchTable)["cells"]:
            kind = (cell["method"], cell["dataset"], cell["ipc"], cell["cmi"] > 0)
            if kind not in found:
                found[kind].append((cell["seconds_per_iteration"], 0.0))
    return {
        kind: (statistics.median(seconds for seconds, _ in pairs), statistics.median(more for _, more in pairs))
        for kind, pairs in found.items()
    }


def kind_of(identity: Mapping[str, Any]) -> tuple[Any, ...]:
    """What runs have in common that take about as long an iteration."""
    return system(identity), dataset_name(identity), identity["ipc"], strength(identity["cmi"]) != BASELINE
