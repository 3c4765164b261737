"""One run from its settings to its result: admit, load, distil, evaluate, record, DONE."""

import logging
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cmidd.compute.devices import claimed_device, peak_memory_mib, start_measuring_memory
from cmidd.compute.engine import using
from cmidd.compute.recipe import stated
from cmidd.core.context import Context
from cmidd.evaluation.baselines import baselines
from cmidd.evaluation.evaluate import evaluate
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.evaluation.train_on_set import stages_of, training_steps
from cmidd.loop.checkpoints import progress_of
from cmidd.methods import METHODS
from cmidd.runs.additions import add_to_finished
from cmidd.runs.build import chosen_engine, make_context
from cmidd.runs.identity import system
from cmidd.runs.memory import ways_to_save
from cmidd.runs.moments import Moments
from cmidd.runs.outlook import outlook
from cmidd.runs.recipes import refuse_soft_labels
from cmidd.runs.record import RunRecord
from cmidd.runs.report import report
from cmidd.runs.run_folder import (
    EVALUATING,
    OVERWRITING,
    begin,
    check_folder,
    identity_of,
    make_way,
    read_finished,
    refuse_other_images,
    refuse_other_settings,
)
from cmidd.runs.settings import Settings
from cmidd.runs.stages import Distilled, distill_stages, evaluated_after
from cmidd.runs.titles import set_title
from cmidd.runs.tracking import Tracker
from cmidd.synthetic.sheets import save_sheets
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import clock, files, locks
from cmidd.utils.errors import SettingError
from cmidd.utils.provenance import provenance
from cmidd.utils.shortage import named_shortage
from cmidd.utils.text import summary

log = logging.getLogger(__name__)


def run(settings: Settings, admitted: Callable[[Path], dict[str, Any]]) -> RunRecord:
    """Run, resume or skip; returns the record of the result.

    Args:
        admitted: called with the run's folder once it is certain that this process works in it; returns what the
            record says of how the run was started.

    Raises:
        SettingError: when the folder belongs to another process or to a run with other settings, a recipe of training
            needs soft labels, or memory runs out.
    """
    folder = settings.folder
    refuse_soft_labels(settings)
    clock.restart()
    locked = locks.locked(folder, wait=False, below=Path(settings.results_root))
    with named_shortage(ways_to_save(settings)), locked as mine:
        if not mine:
            by = locks.taken_by(folder)
            raise SettingError(f"{folder}: another process is at work on this run{by}; wait for it, or change the seed")
        if not settings.overwrite:
            refuse_other_settings(settings)
        if (folder / "DONE").exists() and not settings.overwrite:
            log.info("%s is finished, skipping (overwrite=true runs it again)", folder)
            record = add_to_finished(settings, read_finished(folder))
        else:
            with claimed_device(settings.device) as device:
                context = make_context(settings, device)
                for stage in range(len(settings.stage_sizes)):
                    METHODS[settings.method["name"]].refuse(settings.arguments_in(stage), context.blank_network())
                make_way(settings, context)
                check_folder(settings, context.data.num_classes, context.data.image_shape)
                refuse_other_images(settings, context)
                started = admitted(folder)
                begin(settings, context)
                record = _work(settings, context, started)
    report(folder, record)
    return record


def _work(settings: Settings, context: Context, started: dict[str, Any]) -> RunRecord:
    """Distil, evaluate and record, with the engine of the run."""
    folder, synthetic, protocol = settings.folder, context.synthetic, settings.evaluation
    start_measuring_memory(context.data.device)
    done = progress_of(folder)
    started = {**started, **provenance(context.data.device)}  # Now: the code may change on disk while the run lasts.
    tracker = Tracker(folder, done, settings.tracking, settings.wandb, settings.identity)
    engine = chosen_engine(settings, context)
    synthetic.about = _about(settings)
    if context.data.name == "folder":
        synthetic.about["content"] = context.data.content
    moments = Moments(folder, evaluated_after(settings))

    def evaluate_now(iteration: int) -> list[float]:
        moments.keep(iteration, synthetic)  # First: a run that is killed here evaluates, and keeps, once more.
        accuracies = evaluate_set(context, synthetic, protocol, iteration, folder / EVALUATING)
        log.info("after iteration %d: accuracy on %s %s", iteration, context.data.held_out, summary(accuracies))
        tracker({"iteration": iteration, "accuracy": statistics.fmean(accuracies)})
        return accuracies

    with using(engine):
        log.info("%s", outlook(settings, context, engine))
        if done.iteration:
            log.info("resuming at iteration %d", done.iteration)
        moments.start(synthetic)
        distilled = distill_stages(settings, context, evaluate_now, tracker)
        synthetic.save(folder / "synthetic.safetensors")
        title = set_title(settings.identity, distilled.iteration)
        save_sheets(synthetic.pixels(), synthetic.labels, synthetic.classes, title, folder / "synthetic.png")
        record = _record(settings, context, {**started, "engine": asdict(engine)}, distilled)
    record.write(folder / "result.json")
    (folder / EVALUATING).unlink(missing_ok=True)
    tracker.close(folder / "synthetic.png", {"accuracy": statistics.fmean(record.last["accuracies"])})
    files.write_text(folder / "DONE", "")
    (folder / OVERWRITING).unlink(missing_ok=True)
    return record


def _about(settings: Settings) -> dict[str, Any]:
    """What a synthetic set says of how it was made, and how it is trained on."""
    protocol = settings.evaluation
    return {
        "dataset": settings.dataset["name"],
        "method": settings.method["name"],
        "system": system(vars(settings)),
        "ipc": settings.ipc,
        "seed": settings.seed,
        "cmi": settings.cmi.weight if settings.cmi.ratio is None else {"ratio": settings.cmi.ratio},
        "data": settings.dataset,
        "network": settings.network,
        "training": stated(protocol.training),
        **({} if protocol.optimizer == "fresh" else {"optimizer": protocol.optimizer}),
    }


def _record(settings: Settings, context: Context, started: dict[str, Any], distilled: Distilled) -> RunRecord:
    """The record of a run, whose baselines are measured now."""
    protocol, evaluations = settings.evaluation, distilled.evaluations
    best = max(evaluations, key=lambda iteration: statistics.fmean(evaluations[iteration]))
    stages = stages_of(context.synthetic, protocol.training)
    return RunRecord(
        **started,
        settings=identity_of(settings, context),  # type: ignore[arg-type]
        read_from=context.data.origin or "published files",
        understood=context.data.understood,
        network=settings.network["name"],
        tested_on=context.data.held_out,  # type: ignore[arg-type]
        last={"iteration": distilled.iteration, "accuracies": evaluations[str(distilled.iteration)]},
        best={"iteration": int(best), "accuracies": evaluations[best]},
        evaluations=evaluations,
        training_steps=training_steps(stages),
        optimizer_between_stages=protocol.optimizer if len(stages) > 1 else None,
        evaluated_at_seconds=distilled.evaluated_at,
        baselines=baselines(context, protocol, settings.ipc),
        teachers=distilled.teachers,
        rollbacks=distilled.rollbacks,
        declined=distilled.declined or None,
        weights=distilled.weights if any(distilled.weights) else None,  # type: ignore[arg-type]
        seconds=distilled.seconds,
        evaluation_seconds=distilled.evaluation_seconds,
        peak_memory_mib=peak_memory_mib(context.data.device),
    )


def evaluate_set(
    context: Context, synthetic: SyntheticSet, protocol: EvaluationProtocol, iteration: int, kept: Path | None = None
) -> list[float]:
    """The accuracies of a run's synthetic set after ``iteration``: the same numbers whenever they are asked for.

    Args:
        kept: as for :func:`cmidd.evaluation.evaluate.evaluate`.
    """
    stages = stages_of(synthetic, protocol.training)
    streams = context.streams.child("evaluate", iteration)
    return evaluate(
        context.data,
        context.network,
        stages,
        protocol.repeats,
        streams,
        optimizer=protocol.optimizer,
        kept=kept,
        made_by=context.made_by,
    )
