"""Seconds and memory of the methods on random images of a data set's shape, each cell in a process of its own."""

import logging
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cmidd import files
from cmidd.data import Dataset
from cmidd.devices import peak_memory_mib, pick_device, start_measuring_memory
from cmidd.distill import distillation_step
from cmidd.errors import SettingError
from cmidd.objectives import OBJECTIVES, Context
from cmidd.plugins import make_regularizers
from cmidd.preprocessing import Normalize
from cmidd.records import provenance
from cmidd.settings import Settings, checked
from cmidd.sources import Split
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet
from cmidd.training import Count

log = logging.getLogger(__name__)
Compose = Callable[[list[str]], tuple[Settings, dict[str, Any]]]
SHAPES = {
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "svhn": ((3, 32, 32), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "mnist": ((1, 28, 28), 10),
}


@dataclass(frozen=True)
class BenchSettings:
    """Which cells to measure (``configs/standalone/bench.yaml``): all combinations of the four lists.

    Attributes:
        cmi: weights; with one above 0 the regulariser is measured along.
        steps: optimiser steps that are timed, after one that is not.
        images_per_class: random real images.
        overrides: for a method, more words for distill.py.
    """

    method: list[str]
    dataset: list[str]
    ipc: list[Count]
    cmi: list[float]
    steps: Count
    images_per_class: Count
    overrides: dict[str, list[str]]
    device: str
    results_root: str


def read_bench(config: dict[str, Any]) -> BenchSettings:
    """Check a resolved config.

    Raises:
        SettingError: one line for the first setting that is wrong.
    """
    settings = BenchSettings(**checked(BenchSettings, config, ""))
    for name, known, given in (
        ("method", OBJECTIVES, settings.method),
        ("dataset", SHAPES, settings.dataset),
        ("overrides", OBJECTIVES, settings.overrides),
    ):
        for value in given:
            if value not in known:
                raise SettingError(f"{name}={value}: unknown; choose among {', '.join(sorted(known))}")
    return settings


def bench(settings: BenchSettings, compose: Compose) -> list[Path]:
    """Measure every cell, log the table, and write it as JSON and Markdown under a new number.

    Args:
        compose: settings and method arguments of ``distill.py`` for a list of overrides.
    """
    device = pick_device(settings.device)
    spawn = multiprocessing.get_context("spawn")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as buffers:
        for dataset in settings.dataset:
            for ipc in settings.ipc:
                for method in settings.method:
                    for weight in settings.cmi:
                        words = [f"method={method}", f"dataset={dataset}", f"ipc={ipc}", f"cmi.lambda={weight}"]
                        words += ["cmi.pool=1", "cmi.epochs=1", f"buffers_root={buffers}"]
                        cell = compose([*words, *settings.overrides.get(method, [])])
                        log.info("measuring %s", " ".join(words[:4]))
                        # Processes of their own: the first makes experts and teachers, the second's peak is ours.
                        for steps in (0, settings.steps):
                            with spawn.Pool(1) as pool:
                                row = pool.apply(measure, (*cell, steps, settings.images_per_class, device))
                        rows.append(row)
                        log.info("%s", _line(rows[-1]))
    lines = ["| " + " | ".join(HEADER) + " |", "| --- " * len(HEADER) + "|", *(_line(row) for row in rows)]
    log.info("\n".join(lines))
    record = {"settings": asdict(settings), "cells": rows, "threads": torch.get_num_threads(), **provenance(device)}
    paths = files.unused(Path(settings.results_root) / "bench", ("json", "md"))
    files.write_json(paths[0], record)
    files.write_text(paths[1], "\n".join(lines) + "\n")
    log.info("written: %s, %s", *paths)
    return paths


HEADER = (
    "method",
    "data set",
    "IPC",
    "CMI",
    "seconds per step (median)",
    "least to most (n)",
    "steps per iteration",
    "seconds per iteration",
    "peak memory above data and libraries, MiB",
)


def _line(row: dict[str, Any]) -> str:
    seconds = row["step_seconds"]
    fields = [row["method"], row["dataset"], row["ipc"], f"{row['cmi']:g}", f"{statistics.median(seconds):.4g}"]
    fields += [f"{min(seconds):.4g} to {max(seconds):.4g} (n={len(seconds)})", row["steps_per_iteration"]]
    fields += [f"{row['seconds_per_iteration']:.4g}", f"{row['peak_memory_mib']:.0f}"]
    return "| " + " | ".join(map(str, fields)) + " |"


def measure(
    settings: Settings, arguments: dict[str, Any], steps: int, images_per_class: int, device: torch.device
) -> dict[str, Any]:
    """One cell: the time of every optimiser step with the work on networks before it, and peak memory.

    Args:
        steps: how many are timed, after one that is not; with 0 only experts and teachers are made.
    """
    context = random_context(settings, images_per_class, device)
    start_measuring_memory(device)
    before = peak_memory_mib(device)
    objective = OBJECTIVES[settings.method["name"]](context, **arguments)
    regularizers = make_regularizers(settings, context)
    if steps == 0:
        return {}
    groups = objective.param_groups()
    for group in groups:
        for leaf in group["params"]:
            leaf.requires_grad_()
    optimizer = torch.optim.SGD(groups)
    seconds: list[float] = []
    iteration = 0
    while len(seconds) <= steps:
        began = _now(device)
        for match in objective.matches(iteration):
            distillation_step(match, optimizer, regularizers, context.streams, iteration)
            ended = _now(device)
            seconds.append(ended - began)
            began = ended
            if len(seconds) > steps:
                break
        iteration += 1
    timed = seconds[1:]
    return {
        "method": settings.method["name"],
        "dataset": settings.dataset["name"],
        "ipc": settings.ipc,
        "cmi": settings.cmi.weight,
        "step_seconds": timed,
        "steps_per_iteration": objective.steps_per_iteration,
        "seconds_per_iteration": statistics.median(timed) * objective.steps_per_iteration,
        "peak_memory_mib": peak_memory_mib(device) - before,
    }


def random_context(settings: Settings, images_per_class: int, device: torch.device) -> Context:
    """The world of a run, on standard normal images of the data set's shape."""
    shape, num_classes = SHAPES[settings.dataset["name"]]
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_classes).repeat_interleave(images_per_class)
    images = torch.randn(len(labels), *shape, generator=generator)
    split = Split(images.to(device), labels.to(device))
    data = Dataset(
        name=settings.dataset["name"],
        train=split,
        test=split,
        classes=tuple(map(str, range(num_classes))),
        preprocessing=Normalize(torch.zeros(shape[0]), torch.ones(shape[0])),
    )
    streams = Streams(settings.seed)
    synthetic = SyntheticSet.from_noise(data, settings.ipc, streams("init"), settings.formation)
    key = {"random": images_per_class}
    return Context(data, synthetic, streams, Path(settings.buffers_root), settings.network, key)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
