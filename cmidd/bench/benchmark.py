"""Seconds, memory and floors of every method in every engine, on random images of a data set's shape.

A cell is a task (a method, the evaluation, the experts, the CMI term alone) at a shape, and is measured once for each
mode, an engine. Every measurement has a process of its own.
"""

import itertools
import logging
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import Field

from cmidd.bench.breakdown import PARTS, Shares
from cmidd.bench.modes import MODES, engine_of
from cmidd.bench.roofline import Counter, Machine, measure_machine
from cmidd.bench.workloads import OTHERS, Workload, method_of, timed_step
from cmidd.compute import engine
from cmidd.compute.devices import keep_freed_memory, peak_memory_mib, pick_device, start_measuring_memory
from cmidd.data.published import PUBLISHED
from cmidd.methods import METHODS
from cmidd.runs.settings import Settings
from cmidd.utils import files
from cmidd.utils.checking import checked
from cmidd.utils.errors import SettingError
from cmidd.utils.provenance import provenance
from cmidd.utils.setting_types import Count, Device, NonNegative, PathText
from cmidd.utils.text import table_row

log = logging.getLogger(__name__)
Each = TypeVar("Each")
Some = Annotated[list[Each], Field(min_length=1)]
Compose = Callable[[list[str]], Settings]


@dataclass(frozen=True)
class BenchSettings:
    """Which cells to measure (``configs/command/bench.yaml``): all combinations of the lists.

    Attributes:
        cmi: weights; with one above 0 the regulariser is measured along.
        mode: the first is what the others are compared with.
        steps: optimiser steps that are timed, after two that are not (they compile, and fill caches).
        image_size: height and width of the images; null: the data set's.
        images_per_class: random real images.
        overrides: for a task, more words for distill.py.
    """

    task: Some[str]
    dataset: Some[str]
    ipc: Some[Count]
    image_size: Some[Count | None]
    cmi: Some[NonNegative]
    mode: Some[str]
    steps: Count
    images_per_class: Count
    overrides: dict[str, list[str]]
    device: Device
    results_root: PathText


def read_bench(config: dict[str, Any]) -> BenchSettings:
    """Check a resolved config.

    Raises:
        SettingError: one line for the first setting that is wrong.
    """
    settings = BenchSettings(**checked(BenchSettings, config, ""))
    tasks = {*METHODS, *OTHERS}
    for name, known, given in (
        ("task", tasks, settings.task),
        ("dataset", PUBLISHED, settings.dataset),
        ("mode", MODES, settings.mode),
        ("overrides", tasks, settings.overrides),
    ):
        for value in given:
            if value not in known:
                raise SettingError(f"{name}={value}: unknown; choose among {', '.join(sorted(known))}")
    return settings


def bench(settings: BenchSettings, compose: Compose) -> list[Path]:
    """Measure every cell, log the table, and write it as JSON and Markdown under a new number.

    Args:
        compose: settings of ``distill.py`` for a list of overrides.

    Raises:
        SettingError: when the device does not have a mode, or a method refuses its settings.
    """
    device = pick_device(settings.device)
    for mode in settings.mode:
        for asked, what in ((MODES[mode].precision == "tf32", "TF32"), (MODES[mode].graphs, "CUDA graphs")):
            if asked and device.type != "cuda":
                raise SettingError(f"mode={mode}: {device} has no {what}; measure it with device=cuda, or leave it out")
    with tempfile.TemporaryDirectory() as buffers:
        workloads = _workloads(settings, compose, buffers, device)
        rates: dict[str, Machine] = {
            precision: measure_machine(precision, device)
            for precision in dict.fromkeys(MODES[mode].precision for mode in settings.mode)
        }
        for precision, machine in rates.items():
            log.info("%s: %.0f GFLOP/s, %.1f GB/s", precision, machine.operations / 1e9, machine.bytes / 1e9)
        record = {
            "settings": asdict(settings),
            "machine": {precision: asdict(machine) for precision, machine in rates.items()},
            "threads": torch.get_num_threads(),
            **provenance(device),
        }
        rows: list[dict[str, Any]] = []
        paths: list[Path] = []
        for workload in workloads:
            rows += _measured_cell(workload, settings, rates)
            paths = paths or files.unused(Path(settings.results_root) / "bench", ("json", "md"))
            table = "\n".join([*HEAD, *(_line(row) for row in rows)])
            files.write_json(paths[0], record | {"cells": rows})
            files.write_text(paths[1], f"{table}\n")
    log.info("%s", table)
    log.info("written: %s, %s", *paths)
    return paths


def _workloads(settings: BenchSettings, compose: Compose, buffers: str, device: torch.device) -> list[Workload]:
    """All cells, as ``distill.py`` would be told to do them and would refuse them; a teacher trains for an epoch."""
    workloads = []
    for dataset, size, ipc, task, weight in itertools.product(
        settings.dataset, settings.image_size, settings.ipc, settings.task, settings.cmi
    ):
        words = [f"method={method_of(task)}", f"dataset={dataset}", f"ipc={ipc}", f"cmi.lambda={weight}"]
        words += ["cmi.pool=1", "cmi.epochs=1", f"buffers_root={buffers}"]
        composed = compose([*words, *settings.overrides.get(task, [])])
        workloads.append(Workload(task, composed, size, settings.images_per_class, device))
        workloads[-1].check()
    return workloads


def _measured_cell(workload: Workload, settings: BenchSettings, rates: dict[str, Machine]) -> list[dict[str, Any]]:
    """A row for every mode."""
    operations, moved = _apart(count_step, workload)
    rows: list[dict[str, Any]] = []
    for mode in settings.mode:
        log.info("measuring %s %s", workload.label, mode)
        row = _apart(measure, workload, mode, settings.steps) | {"operations": operations, "bytes": moved}
        rows.append(row | _compared(row, rows, rates[MODES[mode].precision]))
        log.info("%s", _line(rows[-1]))
    return rows


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function`` in a process of its own, so that memory and compiled code are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        result = pool.apply(function, arguments)
        pool.close()  # Its process ends by itself: a signal between two of its tasks may be lost, and is waited for.
        pool.join()
        return result


def _compared(row: dict[str, Any], others: list[dict[str, Any]], machine: Machine) -> dict[str, float]:
    """The ratio to the first mode and to the floor."""
    seconds = statistics.median(row["step_seconds"])
    reference = statistics.median(others[0]["step_seconds"]) if others else seconds
    floor = max(row["operations"] / machine.operations, row["bytes"] / machine.bytes)
    return {"times_first_mode": reference / seconds, "floor_seconds": floor, "over_floor": seconds / floor}


HEADER = (
    "task",
    "data set",
    "image size",
    "IPC",
    "CMI",
    "mode",
    "seconds per step (median)",
    "least to most (n)",
    "faster than the first mode",
    "GFLOP",
    "floor, seconds",
    "over the floor",
    "first step, seconds",
    "peak memory above data and libraries, MiB",
    "share of data / augmentation / regulariser / backward / forward and rest, per cent",
)
HEAD = (table_row(HEADER), "| --- " * len(HEADER) + "|")


def _line(row: dict[str, Any]) -> str:
    seconds = row["step_seconds"]
    fields = [row["task"], row["dataset"], row["image_size"], row["ipc"], f"{row['cmi']:g}", row["mode"]]
    fields += [f"{statistics.median(seconds):.4g}", f"{min(seconds):.4g} to {max(seconds):.4g} (n={len(seconds)})"]
    fields += [f"{row['times_first_mode']:.2f}x", f"{row['operations'] / 1e9:.4g}"]
    fields += [f"{row['floor_seconds']:.3g}", f"{row['over_floor']:.1f}x"]
    fields += [f"{row['first_step_seconds']:.3g}", f"{row['peak_memory_mib']:.0f}"]
    fields.append(" / ".join(f"{100 * row['shares'].get(part, 0):.0f}" for part in (*PARTS, "rest")))
    return table_row(fields)


def measure(workload: Workload, mode: str, steps: int) -> dict[str, Any]:
    """One mode of one cell: the time of every step, its shares, and peak memory."""
    task, settings, device = workload.task, workload.settings, workload.device
    if device.type == "cpu":
        keep_freed_memory()  # As pick_device does in a run.
    context = workload.context()
    start_measuring_memory(device)
    before = peak_memory_mib(device)
    with engine.using(engine_of(mode, device)):
        work, per_iteration = workload.steps(context)
        warming = [timed_step(work, device) for _ in range(2)]
        seconds = [timed_step(work, device) for _ in range(steps)]
        with Shares(device) as shares:  # Of one more: what it waits for would be in the time of the others.
            divided = timed_step(work, device)
    return {
        "task": task,
        "method": task,
        "dataset": settings.dataset["name"],
        "image_size": context.data.image_shape[-1],
        "ipc": settings.ipc,
        "cmi": settings.cmi.weight,
        "mode": mode,
        "step_seconds": seconds,
        "first_step_seconds": warming[0],
        "steps_per_iteration": per_iteration,
        "seconds_per_iteration": statistics.median(seconds) * per_iteration,
        "peak_memory_mib": peak_memory_mib(device) - before,
        "shares": shares.of(divided),
    }


def count_step(workload: Workload) -> tuple[int, int]:
    """Operations and bytes of one step; makes experts and teachers, where the task has some, along the way."""
    work, _ = workload.steps(workload.context())
    next(work)
    with Counter() as counter:
        next(work)
    return counter.operations, counter.bytes
