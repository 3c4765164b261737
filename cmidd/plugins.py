"""What the settings add to a method: its regularisers, what its set starts from, and its stages, one after another."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from cmidd.balance import Ratio
from cmidd.checking import checked
from cmidd.checkpoints import checkpoint_of
from cmidd.data import Dataset
from cmidd.distill import Regularizer, distill
from cmidd.errors import SettingError
from cmidd.objectives import OBJECTIVES, Context
from cmidd.objectives.base import new_network
from cmidd.records import merged
from cmidd.regularizers import REGULARIZERS
from cmidd.regularizers.base import Teachers
from cmidd.regularizers.cmi import CMI
from cmidd.samplers import Sampler
from cmidd.settings import Settings, make_schedule
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet
from cmidd.teachers import TeacherPools
from cmidd.tracking import Tracker

log = logging.getLogger(__name__)


def make_regularizers(
    settings: Settings, context: Context, teachers: Teachers
) -> list[tuple[float | Ratio, Regularizer]]:
    """CMI and the other regularisers with their weights or ratios; a pool of teachers is made when one wants it."""
    cmi, images = settings.cmi, settings.ipc * settings.formation.tiles
    made: list[tuple[float | Ratio, Regularizer]] = []
    if cmi.active:
        real = context.data.train if cmi.centroids == "real" else None
        if images == 1 and real is None:
            log.warning("CMI is zero at one image per class: ipc=1 with cmi.lambda gives the baseline")
        seen = {"seen": context.data.preprocessing.inverse} if cmi.input == "pixels" else {}
        made.append((_given(cmi.weight, cmi.ratio), CMI(teachers(), real, **seen)))
    for name, given in settings.regularizers.items():
        kind, given = REGULARIZERS[name], dict(given)
        weight = _given(given.pop("weight"), given.pop("ratio", None))
        if images < kind.per_class_images:
            log.warning("%s is zero at one image per class: ipc=1 with it gives the baseline", name)
        made.append((weight, kind(context, teachers, **checked(kind, given, name))))
    return made


def _given(weight: float | None, ratio: float | None) -> float | Ratio:
    if ratio is not None:
        return Ratio(ratio)
    assert weight is not None
    return weight


def starting_set(settings: Settings, data: Dataset, sampler: Sampler, ipc: int, streams: Streams) -> SyntheticSet:
    """``ipc`` images of every class that distillation starts from: real ones, as the sampler says, or noise."""
    data.check_ipc(ipc)
    formation, side = settings.formation, min(data.image_shape[1:])
    if formation.factor > side:
        raise SettingError(f"method.formation.factor={formation.factor}: images have {side} pixels a side; choose less")
    if settings.init == "noise":
        return SyntheticSet.from_noise(data, ipc, streams("init"), formation)
    network = functools.partial(new_network, data, settings.network)
    drawn = sampler.first(data, ipc, formation.tiles, streams("init"), network, settings.distinct)
    return SyntheticSet.from_batches(data, drawn, formation)


def stage_sizes(settings: Settings) -> list[int]:
    """Images per class of every stage."""
    return make_schedule(settings.schedule).sizes(settings.ipc)


def stage_arguments(settings: Settings, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """The method's arguments in every stage."""
    schedule = make_schedule(settings.schedule)
    stages = range(len(schedule.sizes(settings.ipc)))
    return [_in_stage(settings, arguments, schedule.method_settings(stage)) for stage in stages]


def distill_stages(
    settings: Settings,
    arguments: dict[str, Any],
    context: Context,
    evaluate: Callable[[int], list[float]],
    tracker: Tracker,
) -> dict[str, Any]:
    """Distil ``context.synthetic`` stage after stage, each for ``settings.iterations``; returns the state of
    :func:`cmidd.distill.distill` with iterations and seconds counted on, the ``weights`` of every stage, and what the
    record says of the ``teachers``.

    A finished stage is read from its checkpoint. Only at the end of the last one is the set evaluated in any case.
    """
    schedule, protocol = make_schedule(settings.schedule), settings.evaluation
    sizes, teachers = schedule.sizes(settings.ipc), TeacherPools(context, settings.cmi)
    regularizers = make_regularizers(settings, context, teachers)
    given_in = stage_arguments(settings, arguments)

    def distill_stage(stage: int) -> dict[str, Any]:
        before = stage * settings.iterations
        world = schedule.world(stage, context, protocol.training)
        if stage > 0:
            log.info("stage %d of %d: %d more images per class", stage + 1, len(sizes), sizes[stage])
            new = starting_set(settings, context.data, context.sampler, sizes[stage], world.streams)
            context.synthetic.begin_stage(new.leaf, new.leaf_labels)
        return distill(
            OBJECTIVES[settings.method["name"]](world, **given_in[stage]),
            context.synthetic,
            regularizers,
            world.streams,
            iterations=settings.iterations,
            checkpoint=checkpoint_of(settings.folder, stage),
            checkpoint_seconds=settings.checkpoint_seconds,
            on_nan=settings.on_nan,
            evaluate=lambda done: evaluate(before + done),
            eval_interval=protocol.interval,
            evaluate_last=stage + 1 == len(sizes),
            balance_steps=settings.balance_steps,
            measure=settings.cmi.measure,
            remembering={"sampler": context.sampler},
            arguments=given_in[stage],
            log_metrics=lambda row: tracker({**row, "iteration": before + row["iteration"]}),
            forget_metrics=lambda done: tracker.forget(before + done),
        )

    total = distill_stage(0)
    total["weights"] = [total["weights"]]
    for stage in range(1, len(sizes)):
        state, before = distill_stage(stage), stage * settings.iterations
        for name, offset in (("evaluations", None), ("evaluated_at", total["seconds"])):
            for done, value in state[name].items():
                total[name][str(before + int(done))] = value if offset is None else offset + value
        for name in ("iteration", "seconds", "evaluation_seconds", "rollbacks"):
            total[name] += state[name]
        total["weights"].append(state["weights"])
    return {**total, "teachers": teachers.about}


def _in_stage(settings: Settings, arguments: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """The method's arguments with the settings that a stage changes."""
    if not changed:
        return arguments
    given = {name: settings.method[name] for name in arguments if name in settings.method}
    return checked(OBJECTIVES[settings.method["name"]], merged(given, changed), "schedule.overrides")
