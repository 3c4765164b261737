"""The stages of a run, distilled one after another."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cmidd.core.context import Context
from cmidd.loop.checkpoints import checkpoint_of
from cmidd.loop.distill import Weighted, distill
from cmidd.loop.pace import Pace
from cmidd.methods import METHODS
from cmidd.runs.build import make_regularizers, make_teachers, starting_set
from cmidd.runs.settings import Settings
from cmidd.runs.tracking import Tracker

log = logging.getLogger(__name__)


@dataclass
class Distilled:
    """What was done in all stages: the counts of :class:`cmidd.loop.state.State`, with iterations and seconds counted
    on, the measured ``weights`` of every stage, and what the record says of the ``teachers``.
    """

    iteration: int
    seconds: float
    evaluation_seconds: float
    rollbacks: int
    declined: int
    evaluations: dict[str, list[float]]
    evaluated_at: dict[str, float]
    weights: list[dict[str, Any]]
    teachers: list[dict[str, Any]]


def distill_stages(
    settings: Settings, context: Context, evaluate: Callable[[int], list[float]], tracker: Tracker
) -> Distilled:
    """Distil ``context.synthetic`` stage after stage, each for ``settings.iterations``.

    A finished stage is read from its checkpoint. Only at the end of the last one is the set evaluated in any case.
    """
    teachers = make_teachers(settings, context)
    regularizers = make_regularizers(settings, context, teachers)
    total = Distilled(0, 0.0, 0.0, 0, 0, {}, {}, [], [])
    for stage in range(len(settings.stage_sizes)):
        counts = _distill_stage(
            stage, settings, context, regularizers, StageObserver(total.iteration, evaluate, tracker)
        )
        for done, accuracies in counts["evaluations"].items():
            total.evaluations[str(total.iteration + int(done))] = accuracies
            total.evaluated_at[str(total.iteration + int(done))] = total.seconds + counts["evaluated_at"][done]
        total.iteration += counts["iteration"]
        total.seconds += counts["seconds"]
        total.evaluation_seconds += counts["evaluation_seconds"]
        total.rollbacks += counts["rollbacks"]
        total.declined += counts["declined"]
        total.weights.append(counts["weights"])
    total.teachers = teachers.about
    return total


class StageObserver:
    """Counts the iterations of a stage on from those ``before``."""

    def __init__(self, before: int, evaluate: Callable[[int], list[float]], tracker: Tracker) -> None:
        self.before, self._evaluate, self.tracker = before, evaluate, tracker

    def evaluate(self, iteration: int) -> list[float]:
        """The accuracies of the set as it is."""
        return self._evaluate(self.before + iteration)

    def metrics(self, row: dict[str, Any]) -> None:
        """Record what was measured."""
        self.tracker({**row, "iteration": self.before + row["iteration"]})

    def forget(self, iteration: int) -> None:
        """Drop what was recorded after an iteration."""
        self.tracker.forget(self.before + iteration)


def pace_of(settings: Settings, stage: int) -> Pace:
    """How long a stage is distilled, and what is done on the way."""
    return Pace(
        settings.iterations,
        settings.evaluation.interval,
        evaluate_last=stage + 1 == len(settings.stage_sizes),
        checkpoint_seconds=settings.checkpoint_seconds,
        on_nan=settings.on_nan,
        balance_steps=settings.balance_steps,
        measure=settings.cmi.measure,
    )


def evaluated_after(settings: Settings) -> list[int]:
    """After how many iterations of all stages the set is evaluated, in order."""
    stages = range(len(settings.stage_sizes))
    return [stage * settings.iterations + at for stage in stages for at in pace_of(settings, stage).evaluations]


def _distill_stage(
    stage: int, settings: Settings, context: Context, regularizers: Weighted, observer: StageObserver
) -> dict[str, Any]:
    sizes, protocol = settings.stage_sizes, settings.evaluation
    own, arguments = settings.stages.stage_context(stage, context, protocol.training), settings.arguments_in(stage)
    if stage > 0:
        log.info("stage %d of %d: %d more images per class", stage + 1, len(sizes), sizes[stage])
        new = starting_set(settings, context.data, context.sampler, sizes[stage], own.streams)
        context.synthetic.begin_stage(new.leaf, new.leaf_labels)
    return distill(
        METHODS[settings.method["name"]](own, **arguments),
        context.synthetic,
        regularizers,
        own.streams,
        pace_of(settings, stage),
        checkpoint_of(settings.folder, stage),
        observer,
        remembering={"sampler": context.sampler},
        arguments=arguments,
    )
