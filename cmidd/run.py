"""One run from its settings to its result: admit, load, distil, evaluate, record, DONE."""

import hashlib
import logging
import resource
import statistics
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cmidd import files, pictures
from cmidd.data import load_dataset
from cmidd.distill import Regularizer, distill
from cmidd.errors import SettingError
from cmidd.evaluate import baselines, evaluate, recipe_for
from cmidd.objectives import OBJECTIVES, Context
from cmidd.records import provenance, summary
from cmidd.regularizers.cmi import CMI
from cmidd.settings import Settings
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet
from cmidd.teachers import TeacherPool
from cmidd.tracking import Tracker

log = logging.getLogger(__name__)


def run(settings: Settings, arguments: dict[str, Any], admitted: Callable[[Path], None]) -> dict[str, Any]:
    """Run, resume or skip; returns the result record.

    Args:
        arguments: the method's checked keyword arguments.
        admitted: called with the run's folder once it is certain that this process works in it.

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
            record: dict[str, Any] = files.read_json(folder / "result.json")
        else:
            context = make_context(settings)
            files.write_json(folder / "settings.json", settings.identity)
            admitted(folder)
            record = _work(settings, arguments, context)
    report(folder, record)
    return record


def make_context(settings: Settings) -> Context:
    """Load the data and the initial synthetic set; refuses an impossible ipc before any work."""
    device = pick_device(settings.device)
    data = load_dataset(**settings.dataset, root=settings.data.root, download=settings.data.download, device=device)
    streams = Streams(settings.seed)
    make = SyntheticSet.from_real if settings.init == "real" else SyntheticSet.from_noise
    data.check_ipc(settings.ipc)
    key = dict(settings.dataset)
    if data.name == "folder":  # The user may change the images: the caches go by their content.
        key["content"] = hashlib.sha256(data.train.images.cpu().numpy().tobytes()).hexdigest()
    return Context(
        data=data,
        synthetic=make(data, settings.ipc, streams("init"), settings.formation),
        streams=streams,
        buffers=Path(settings.buffers_root),
        network=settings.network,
        data_key=key,
    )


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SettingError(f"device={name}: no CUDA device here; use device=cpu or device=auto")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"device={name}: unknown; use auto, cpu or cuda") from error


def _make_way(folder: Path, settings: Settings) -> None:
    """Move a finished run aside on request; refuse to mix two runs of different settings."""
    before = files.read_json(folder / "settings.json") if (folder / "settings.json").exists() else None
    if before is None:
        return
    if settings.overwrite:
        number = 1
        while (aside := folder.with_name(f"{folder.name}.replaced{number}")).exists():
            number += 1
        folder.rename(aside)
        log.info("the earlier run is kept as %s", aside)
        return
    for name, old, new in _differences(before, files.as_json(settings.identity)):
        raise SettingError(
            f"{name}={new}: the run in {folder} was made with {name}={old}; set it back, give another "
            "results_root=..., or overwrite=true (which keeps the earlier run beside it)"
        )


def _differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        below = [_differences(old.get(k), new.get(k), f"{name}.{k}" if name else k) for k in keys]
        return [difference for some in below for difference in some]
    return [] if old == new else [(name, old, new)]


def _work(settings: Settings, arguments: dict[str, Any], context: Context) -> dict[str, Any]:
    folder, synthetic, protocol = settings.folder, context.synthetic, settings.evaluation
    checkpoint = folder / "checkpoint.safetensors"
    resume_at = files.read_tensors(checkpoint)[1]["iteration"] if checkpoint.exists() else 0
    if resume_at:
        log.info("resuming at iteration %d", resume_at)
    tracker = Tracker(folder, resume_at, settings.wandb.mode, settings.wandb.project, settings.identity)
    objective = OBJECTIVES[settings.method["name"]](context, **arguments)
    regularizers: list[tuple[float, Regularizer]] = []
    if settings.cmi.weight > 0:
        real = context.data.train if settings.cmi.centroids == "real" else None
        if settings.ipc * settings.formation.tiles == 1 and real is None:
            log.warning("CMI is zero at one image per class: ipc=1 with cmi.lambda gives the baseline")
        pool = TeacherPool(context, settings.cmi.teacher, settings.cmi.pool, settings.cmi.epochs)
        regularizers.append((settings.cmi.weight, CMI(pool, real)))
    synthetic.about = {
        "dataset": settings.dataset["name"],
        "method": settings.method["name"],
        "ipc": settings.ipc,
        "seed": settings.seed,
        "cmi": settings.cmi.weight,
        "data": settings.dataset,
        "network": settings.network,
        "training": asdict(protocol.training),
    }

    def evaluate_now(iteration: int) -> list[float]:
        recipe = recipe_for(synthetic, protocol.training)
        streams = context.streams.child("evaluate", iteration)
        accuracies = evaluate(context, synthetic.decode(), recipe, protocol.repeats, streams)
        tracker({"iteration": iteration, "accuracy": statistics.fmean(accuracies)})
        return accuracies

    state = distill(
        objective,
        synthetic,
        regularizers,
        context.streams,
        iterations=settings.iterations,
        checkpoint=checkpoint,
        checkpoint_seconds=settings.checkpoint_seconds,
        evaluate=evaluate_now,
        eval_interval=protocol.interval,
        log_metrics=tracker,
    )
    synthetic.save(folder / "synthetic.safetensors")
    pictures.save_grid(synthetic, folder / "synthetic.png")
    evaluations: dict[str, list[float]] = state["evaluations"]
    best = max(evaluations, key=lambda iteration: statistics.fmean(evaluations[iteration]))
    last = str(settings.iterations)
    record = {
        "settings": settings.identity,
        "network": settings.network["name"],
        "tested_on": context.data.held_out,
        "last": {"iteration": int(last), "accuracies": evaluations[last]},
        f"best_on_{context.data.held_out}": {"iteration": int(best), "accuracies": evaluations[best]},
        "evaluations": evaluations,
        "baselines": baselines(context, protocol, settings.ipc),
        "seconds": state["seconds"],
        "peak_memory_mib": _peak_memory_mib(context.data.device),
        **provenance(context.data.device),
    }
    files.write_json(folder / "result.json", record)
    tracker.close(folder / "synthetic.png", {"accuracy": statistics.fmean(evaluations[last])})
    files.write_text(folder / "DONE", "")
    return record


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


def _peak_memory_mib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
