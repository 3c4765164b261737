"""One run from its settings to its result: admit, load, distil, evaluate, record, DONE."""

import hashlib
import logging
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cmidd import files, pictures
from cmidd.balance import in_words
from cmidd.checking import checked, mapping
from cmidd.checkpoints import progress_of
from cmidd.data import load_dataset
from cmidd.devices import claimed_device, peak_memory_mib, start_measuring_memory
from cmidd.engine import Engine, choose, prepare, using
from cmidd.errors import SettingError
from cmidd.evaluate import Protocol, baseline_file, baselines, evaluate, lessons_of, training_steps
from cmidd.networks import blank_network
from cmidd.objectives import OBJECTIVES, Context
from cmidd.plugins import distill_stages, stage_arguments, stage_sizes, starting_set
from cmidd.records import identity_differences, provenance, summary, system
from cmidd.resuming import EVALUATING, check_folder, read_finished
from cmidd.samplers import SAMPLERS
from cmidd.settings import Settings
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet
from cmidd.teacher_files import refuse_unfit
from cmidd.tracking import Tracker

log = logging.getLogger(__name__)


def run(settings: Settings, arguments: dict[str, Any], admitted: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Run, resume or skip; returns the result record.

    Args:
        arguments: the method's checked keyword arguments.
        admitted: called with the run's folder once it is certain that this process works in it; returns what the
            record says of how the run was started.

    Raises:
        SettingError: when the folder belongs to another process or to a run with other settings.
    """
    folder = settings.folder
    with files.claimed(folder, wait=False) as mine:
        if not mine:
            raise SettingError(f"{folder}: another process is at work on this run; wait for it, or change the seed")
        _make_way(folder, settings)
        if (folder / "DONE").exists():
            log.info("%s is finished, skipping (overwrite=true runs it again)", folder)
            record: dict[str, Any] = read_finished(folder)
        else:
            with claimed_device(settings.device) as device:
                context = make_context(settings, device)
                for given in stage_arguments(settings, arguments):
                    OBJECTIVES[settings.method["name"]].refuse(given, context.blank_network())
                check_folder(settings, context.data.num_classes, context.data.image_shape)
                _refuse_other_images(settings, context)
                files.write_json(folder / "settings.json", identity_of(settings, context))
                record = _work(settings, arguments, context, admitted(folder))
    report(folder, record)
    return record


def make_context(settings: Settings, device: torch.device) -> Context:
    """Load the data and the initial synthetic set; refuses an impossible ipc before any work."""
    prepare(settings.engine)
    data = load_dataset(**settings.dataset, root=settings.data.root, download=settings.data.download, device=device)
    streams = Streams(settings.seed)
    data.check_ipc(settings.ipc)
    for options in _networks(settings):
        blank_network(image_shape=data.image_shape, num_classes=data.num_classes, **options)
    cmi = settings.cmi
    if settings.taught and cmi.teachers is not None and cmi.teachers.path is not None:
        refuse_unfit(cmi.teachers.path, cmi.pool, cmi.teacher, data, settings.network)
    given = {key: value for key, value in settings.sampler.items() if key != "name"}
    kind = SAMPLERS[settings.sampler["name"]]
    sampler = kind(**checked(kind, given, "sampler"))
    key = dict(settings.dataset)
    if data.content is not None:
        key["content"] = data.content
    if data.name == "folder":  # The user may change the images: the caches go by their content.
        key["content"] = hashlib.sha256(data.train.images.cpu().numpy().tobytes()).hexdigest()
    return Context(
        data=data,
        synthetic=starting_set(settings, data, sampler, stage_sizes(settings)[0], streams),
        streams=streams,
        buffers=Path(settings.buffers_root),
        network=settings.network,
        data_key=key,
        sampler=sampler,
    )


def _networks(settings: Settings) -> list[dict[str, Any]]:
    """The networks that a run trains: its own, and the teacher where it has some."""
    cmi, own = settings.cmi, settings.network
    trained = settings.taught and cmi.teachers is None and cmi.teacher != own["name"]
    return [own, *([{"name": cmi.teacher}] if trained else [])]


def _make_way(folder: Path, settings: Settings) -> None:
    """Move a finished run aside on request; refuse to mix two runs of different settings."""
    if settings.overwrite and folder.is_dir() and any(folder.iterdir()):
        number = 1
        while (aside := folder.with_name(f"{folder.name}.replaced{number}")).exists():
            number += 1
        folder.rename(aside)
        log.info("the earlier run is kept as %s", aside)
    refuse_other_settings(settings)


def refuse_other_settings(settings: Settings) -> None:
    """Check that the folder of a run is new, or was begun with the same settings.

    Raises:
        SettingError: naming the first setting that differs; or when nothing tells what the settings were.
    """
    folder = settings.folder
    if not (folder / "settings.json").exists():
        if any((folder / name).exists() for name in ("checkpoint.safetensors", "result.json", "DONE")):
            raise SettingError(
                f"{folder}: a run without its settings.json, so nothing tells what made it; move the folder away, or "
                "overwrite=true (which keeps it beside)"
            )
        return
    before = files.read_json(folder / "settings.json")
    for name, old, new in identity_differences(before, files.as_json(settings.identity)):
        if name in ("data", "data.content"):  # Known once they are read: see _refuse_other_images.
            continue
        name = name.removeprefix("regularizers.")  # as the command line calls it
        raise SettingError(
            f"{name}={new}: the run in {folder} was made with {name}={old}; set it back, give another "
            "results_root=..., or overwrite=true (which keeps the earlier run beside it)"
        )


def identity_of(settings: Settings, context: Context) -> dict[str, Any]:
    """The settings that make a run's result, and the hash of its images where they are not the published files."""
    identity = settings.identity
    if context.data.content is not None:
        identity["data"] = {**identity.get("data", {}), "content": context.data.content}
    return identity


def _refuse_other_images(settings: Settings, context: Context) -> None:
    """Refuse to go on when the images are no longer those that the run began with."""
    content, kept, begun = context.data_key.get("content"), settings.folder / "content.json", None
    if (path := settings.folder / "settings.json").exists():
        begun = mapping(files.read_json(path), str(path)).get("data", {}).get("content")
        if kept.exists():
            begun = files.read_json(kept)
        elif context.data.name == "folder":
            begun = content
        if begun != content:
            raise SettingError(
                f"data.root={settings.data.root}: the images have changed since the run in {settings.folder} began; "
                "put them back, or overwrite=true (which keeps the earlier run beside it)"
            )
    if context.data.name == "folder":
        files.write_json(kept, content)


def _work(settings: Settings, arguments: dict[str, Any], context: Context, started: dict[str, Any]) -> dict[str, Any]:
    folder = settings.folder
    start_measuring_memory(context.data.device)
    done = progress_of(folder)
    if done.iteration:
        log.info("resuming at iteration %d", done.iteration)
    started = {**started, **provenance(context.data.device)}  # Now: the code may change on disk while the run lasts.
    tracker = Tracker(folder, done, settings.wandb.mode, settings.wandb.project, settings.identity)
    engine = chosen_engine(settings, arguments, context)
    with using(engine):
        return _compute(settings, arguments, context, {**started, "engine": asdict(engine)}, tracker)


def chosen_engine(settings: Settings, arguments: dict[str, Any], context: Context) -> Engine:
    """The engine that the run began with, or else :func:`fitting_engine`."""
    kept = settings.folder / "engine.json"
    if kept.exists():
        return Engine(**files.read_json(kept))
    engine = fitting_engine(settings, arguments, context)
    files.write_json(kept, asdict(engine))
    return engine


def fitting_engine(settings: Settings, arguments: dict[str, Any], context: Context) -> Engine:
    """The engine that the settings and the length of a run ask for; what is cached for the run is made by it too."""
    data, protocol = context.data, settings.evaluation
    objective = OBJECTIVES[settings.method["name"]]
    distilling = objective.images_per_iteration(data.num_classes, settings.ipc, arguments)
    images = settings.ipc * data.num_classes * settings.formation.tiles
    evaluating = protocol.repeats * protocol.training.epochs * images
    passing = settings.iterations * (distilling + evaluating / min(protocol.interval, settings.iterations))
    return choose(settings.engine, data.device, passing * math.prod(data.image_shape))


def _compute(
    settings: Settings, arguments: dict[str, Any], context: Context, started: dict[str, Any], tracker: Tracker
) -> dict[str, Any]:
    folder, synthetic, protocol = settings.folder, context.synthetic, settings.evaluation
    synthetic.about = {
        "dataset": settings.dataset["name"],
        "method": settings.method["name"],
        "system": system(vars(settings)),
        "ipc": settings.ipc,
        "seed": settings.seed,
        "cmi": settings.cmi.weight if settings.cmi.ratio is None else {"ratio": settings.cmi.ratio},
        "data": settings.dataset,
        "network": settings.network,
        "training": asdict(protocol.training),
        **({} if protocol.optimizer == "fresh" else {"optimizer": protocol.optimizer}),
    }

    def evaluate_now(iteration: int) -> list[float]:
        accuracies = evaluate_set(context, synthetic, protocol, iteration, folder / EVALUATING)
        tracker({"iteration": iteration, "accuracy": statistics.fmean(accuracies)})
        return accuracies

    state = distill_stages(settings, arguments, context, evaluate_now, tracker)
    synthetic.save(folder / "synthetic.safetensors")
    pictures.save_grid(synthetic, folder / "synthetic.png")
    evaluations: dict[str, list[float]] = state["evaluations"]
    best = max(evaluations, key=lambda iteration: statistics.fmean(evaluations[iteration]))
    last = str(state["iteration"])
    lessons = lessons_of(synthetic, protocol.training)
    record = {
        **started,
        "settings": identity_of(settings, context),
        "read_from": context.data.origin or "published files",
        "network": settings.network["name"],
        "tested_on": context.data.held_out,
        "last": {"iteration": int(last), "accuracies": evaluations[last]},
        f"best_on_{context.data.held_out}": {"iteration": int(best), "accuracies": evaluations[best]},
        "evaluations": evaluations,
        "training_steps": training_steps(lessons),
        **({"optimizer_between_stages": protocol.optimizer} if len(lessons) > 1 else {}),
        "evaluated_at_seconds": state["evaluated_at"],
        "baselines": baselines(context, protocol, settings.ipc),
        "teachers": state["teachers"],
        "rollbacks": state["rollbacks"],
        **({"weights": state["weights"]} if any(state["weights"]) else {}),
        "seconds": state["seconds"],
        "evaluation_seconds": state["evaluation_seconds"],
        "peak_memory_mib": peak_memory_mib(context.data.device),
    }
    files.write_json(folder / "result.json", record)
    (folder / EVALUATING).unlink(missing_ok=True)
    tracker.close(folder / "synthetic.png", {"accuracy": statistics.fmean(evaluations[last])})
    files.write_text(folder / "DONE", "")
    return record


def evaluate_set(
    context: Context, synthetic: SyntheticSet, protocol: Protocol, iteration: int, kept: Path | None = None
) -> list[float]:
    """The accuracies of a run's synthetic set after ``iteration``: the same numbers whenever they are asked for.

    Args:
        kept: as for :func:`cmidd.evaluate.evaluate`.
    """
    lessons = lessons_of(synthetic, protocol.training)
    streams = context.streams.child("evaluate", iteration)
    return evaluate(context, lessons, protocol.repeats, streams, kept, protocol.optimizer)


def record_baselines(settings: Settings, context: Context, differs_from_recipe: Mapping[str, list[Any]]) -> None:
    """Measure the baselines that the settings name, and those alone; log them, and write each into
    ``<results_root>/<dataset>/baselines`` with what it depends on.

    Args:
        differs_from_recipe: what the settings change, ``{setting: [this, the recipe's]}``.
    """
    found = baselines(context, settings.evaluation, settings.ipc)
    for kind in settings.evaluation.baselines:
        cached, made_by = baseline_file(context, settings.evaluation, settings.ipc, kind)
        values, folder = found[kind], settings.folder.parents[3]
        method, ipc = (settings.method["name"], settings.ipc) if kind == "random" else (None, None)
        parts = (kind, method, ipc and f"ipc{ipc}", cached.stem.rpartition("_")[2])
        path = folder / "baselines" / f"{'_'.join(part for part in parts if part)}.baseline.json"
        of_it = ("dataset.", "engine.", "network.", f"evaluation.{'training' if kind == 'random' else 'whole'}.")
        record = {
            "baseline": kind,
            "dataset": folder.name,
            "method": method,
            "ipc": ipc,
            "mean": statistics.fmean(values),
            "spread": statistics.stdev(values) if len(values) > 1 else None,
            "n": len(values),
            "accuracies": values,
            "tested_on": context.data.held_out,
            "read_from": context.data.origin or "published files",
            "made_by": made_by,
            "differs_from_recipe": {
                name: list(both)
                for name, both in differs_from_recipe.items()
                if name.startswith(of_it) or name == "evaluation.repeats"
            },
            **provenance(context.data.device),
        }
        files.write_json(path, record)
        what = "the whole data set" if kind == "whole" else f"{ipc} random images per class, as {method} evaluates"
        log.info(
            "%s, %s: %s per cent on %s, written: %s", folder.name, what, summary(values), record["tested_on"], path
        )


def report(folder: Path, record: dict[str, Any]) -> None:
    """Log where the files are and what the set is worth beside its baselines."""
    rows = {
        f"distilled, last (iteration {record['last']['iteration']})": record["last"]["accuracies"],
        **{f"baseline, {kind}": values for kind, values in record["baselines"].items()},
    }
    best = record[f"best_on_{record['tested_on']}"]
    rows[f"best on {record['tested_on']} (iteration {best['iteration']})"] = best["accuracies"]
    lines = [f"{what:<36} {summary(values)}" for what, values in rows.items()]
    names = {"images": "synthetic.safetensors", "picture": "synthetic.png", "record": "result.json"}
    lines += [f"{what:<36} {folder / name}" for what, name in names.items()]
    log.info("accuracy on %s, per cent:\n%s", record["tested_on"], "\n".join(lines))
    for stage, weights in enumerate(record.get("weights", []), 1):
        for name, measured in weights.items():
            log.info("measured in stage %d: %s", stage, in_words(name, measured))
    if record["baselines"] and "whole" not in record["baselines"]:
        log.info(
            "the whole data set has not been measured; scripts/baselines.py does it with the same settings and "
            "'evaluation.baselines=[whole]'"
        )
