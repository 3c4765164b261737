"""Seconds, memory and floors of every method beside a plain version of it, on random images of a data set's shape.

A cell is a task (a method, the evaluation, the experts, the CMI term alone) at a shape, and is measured once for each
mode: ``plain`` (:mod:`cmidd.plain`), and engines. Every measurement has a process of its own.
"""

import contextlib
import itertools
import logging
import multiprocessing
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from cmidd import engine, files, plain
from cmidd.augment import Transform
from cmidd.data import Dataset
from cmidd.devices import keep_freed_memory, peak_memory_mib, pick_device, start_measuring_memory
from cmidd.distill import Regularizer, distillation_step
from cmidd.engine import Engine
from cmidd.errors import SettingError
from cmidd.floor import Counter, Machine, measure_machine
from cmidd.objectives import OBJECTIVES, Context
from cmidd.objectives.base import Match, Objective
from cmidd.plugins import make_regularizers
from cmidd.preprocessing import Normalize
from cmidd.records import provenance
from cmidd.regularizers.cmi import CMI
from cmidd.settings import Settings, checked
from cmidd.sources import Split
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet
from cmidd.teachers import TeacherPool
from cmidd.training import Count, TrainingRecipe, train_step

log = logging.getLogger(__name__)
Compose = Callable[[list[str]], tuple[Settings, dict[str, Any]]]
SHAPES = {
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "svhn": ((3, 32, 32), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "mnist": ((1, 28, 28), 10),
}
MODES: dict[str, Engine] = {
    "plain": Engine(),
    "float32": Engine(),
    "float32 compiled": Engine(compile=True),
    "tf32": Engine("tf32"),
    "tf32 compiled": Engine("tf32", compile=True),
    "bf16": Engine("bf16"),
    "bf16 compiled": Engine("bf16", compile=True),
}
# What is no method is composed as one: whose images, recipes and networks it takes.
TASKS = {**{name: name for name in OBJECTIVES}, "evaluation": "dsa", "experts": "mtt", "cmi": "dm"}


@dataclass(frozen=True)
class BenchSettings:
    """Which cells to measure (``configs/standalone/bench.yaml``): all combinations of the lists.

    Attributes:
        cmi: weights; with one above 0 the regulariser is measured along.
        mode: the first is what the others are compared with.
        steps: optimiser steps that are timed, after two that are not (they compile, and fill caches).
        images_per_class: random real images.
        overrides: for a task, more words for distill.py.
    """

    task: list[str]
    dataset: list[str]
    ipc: list[Count]
    cmi: list[float]
    mode: list[str]
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
        ("task", TASKS, settings.task),
        ("dataset", SHAPES, settings.dataset),
        ("mode", MODES, settings.mode),
        ("overrides", TASKS, settings.overrides),
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
    rates = {
        precision: measure_machine(torch.bfloat16 if precision == "bf16" else torch.float32, device)
        for precision in ("float32", "bf16")
    }
    for precision, machine in rates.items():
        log.info("%s: %.0f GFLOP/s, %.1f GB/s", precision, machine.operations / 1e9, machine.bytes / 1e9)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as buffers:
        for dataset, ipc, task, weight in itertools.product(
            settings.dataset, settings.ipc, settings.task, settings.cmi
        ):
            words = [f"method={TASKS[task]}", f"dataset={dataset}", f"ipc={ipc}", f"cmi.lambda={weight}"]
            words += ["cmi.pool=1", "cmi.epochs=1", f"buffers_root={buffers}"]
            cell = (task, *compose([*words, *settings.overrides.get(task, [])]))
            counted = _apart(count_step, *cell, settings.images_per_class, device)
            of_cell: list[dict[str, Any]] = []
            for mode in settings.mode:
                log.info("measuring %s %s, %s", task, " ".join(words[1:4]), mode)
                row = _apart(measure, *cell, mode, settings.steps, settings.images_per_class, device)
                precision = "bf16" if MODES[mode].precision == "bf16" else "float32"
                of_cell.append(row | _compared(row, of_cell, counted, rates[precision]))
                log.info("%s", _line(of_cell[-1]))
            rows += of_cell
    lines = ["| " + " | ".join(HEADER) + " |", "| --- " * len(HEADER) + "|", *(_line(row) for row in rows)]
    log.info("\n".join(lines))
    record = {
        "settings": asdict(settings),
        "machine": {precision: asdict(machine) for precision, machine in rates.items()},
        "cells": rows,
        "threads": torch.get_num_threads(),
        **provenance(device),
    }
    paths = files.unused(Path(settings.results_root) / "bench", ("json", "md"))
    files.write_json(paths[0], record)
    files.write_text(paths[1], "\n".join(lines) + "\n")
    log.info("written: %s, %s", *paths)
    return paths


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function`` in a process of its own, so that memory and compiled code are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _compared(
    row: dict[str, Any], others: list[dict[str, Any]], counted: tuple[int, int], machine: Machine
) -> dict[str, float]:
    """The ratio to the first mode and to the floor."""
    seconds = statistics.median(row["step_seconds"])
    reference = statistics.median(others[0]["step_seconds"]) if others else seconds
    floor = max(counted[0] / machine.operations, counted[1] / machine.bytes)
    return {"times_first_mode": reference / seconds, "floor_seconds": floor, "over_floor": seconds / floor}


HEADER = (
    "task",
    "data set",
    "IPC",
    "CMI",
    "mode",
    "seconds per step (median)",
    "least to most (n)",
    "faster than the first mode",
    "floor, seconds",
    "over the floor",
    "first step, seconds",
    "peak memory above data and libraries, MiB",
    "share of data / augmentation / regulariser / backward / forward and rest, per cent",
)


def _line(row: dict[str, Any]) -> str:
    seconds = row["step_seconds"]
    fields = [row["task"], row["dataset"], row["ipc"], f"{row['cmi']:g}", row["mode"]]
    fields += [f"{statistics.median(seconds):.4g}", f"{min(seconds):.4g} to {max(seconds):.4g} (n={len(seconds)})"]
    fields += [f"{row['times_first_mode']:.2f}x", f"{row['floor_seconds']:.3g}", f"{row['over_floor']:.1f}x"]
    fields += [f"{row['first_step_seconds']:.3g}", f"{row['peak_memory_mib']:.0f}"]
    fields.append(" / ".join(f"{100 * row['shares'].get(part, 0):.0f}" for part in (*PARTS, "rest")))
    return "| " + " | ".join(map(str, fields)) + " |"


def measure(
    task: str,
    settings: Settings,
    arguments: dict[str, Any],
    mode: str,
    steps: int,
    images_per_class: int,
    device: torch.device,
) -> dict[str, Any]:
    """One mode of one cell: the time of every step, its shares, and peak memory."""
    if mode != "plain" and device.type == "cpu":
        keep_freed_memory()  # As pick_device does in a run.
    context = random_context(settings, images_per_class, device)
    start_measuring_memory(device)
    before = peak_memory_mib(device)
    with engine.using(MODES[mode]):
        work = make_steps(task, settings, arguments, context, mode == "plain")
        warming = [_timed(work, device) for _ in range(2)]
        with Shares() as shares:
            seconds = [_timed(work, device) for _ in range(steps)]
    outer = arguments.get("outer_loop", arguments.get("inner_loop", 1)) if task in OBJECTIVES else 1
    return {
        "task": task,
        "method": task,
        "dataset": settings.dataset["name"],
        "ipc": settings.ipc,
        "cmi": settings.cmi.weight,
        "mode": mode,
        "step_seconds": seconds,
        "first_step_seconds": warming[0],
        "steps_per_iteration": outer,
        "seconds_per_iteration": statistics.median(seconds) * outer,
        "peak_memory_mib": peak_memory_mib(device) - before,
        "shares": shares.of(sum(seconds)),
    }


def count_step(
    task: str, settings: Settings, arguments: dict[str, Any], images_per_class: int, device: torch.device
) -> tuple[int, int]:
    """Operations and bytes of one step; makes experts and teachers, where the task has some, along the way."""
    context = random_context(settings, images_per_class, device)
    work = make_steps(task, settings, arguments, context, in_plain=False)
    next(work)
    with Counter() as counter:
        next(work)
    return counter.operations, counter.bytes


def make_steps(
    task: str, settings: Settings, arguments: dict[str, Any], context: Context, in_plain: bool
) -> Iterator[None]:
    """The task as an endless generator that does one step between two of its values."""
    pool = None
    if settings.cmi.weight > 0 or task == "cmi":
        pool = TeacherPool(context, settings.cmi.teacher, settings.cmi.pool, settings.cmi.epochs)
    if task == "experts":
        return training_steps(context, context.data.train, arguments["experts"].training, 1, in_plain)
    if task == "evaluation":
        return training_steps(context, context.synthetic.decode(), settings.evaluation.training, 5, in_plain)
    term: plain.Term = _no_term
    if pool is not None and in_plain:
        term = plain.cmi_from_file(pool.networks[0], context.buffers / "plain_teacher.safetensors")
    if task == "cmi":
        return cmi_steps(context, term if in_plain else None, pool)
    objective = OBJECTIVES[settings.method["name"]](context, **arguments)
    if in_plain:
        return plain.PLAIN[settings.method["name"]](objective, term)
    return method_steps(context, objective, make_regularizers(settings, context))


def method_steps(
    context: Context, objective: Objective, regularizers: list[tuple[float, Regularizer]]
) -> Iterator[None]:
    """A step is an optimiser step, with the work on networks before it."""
    optimizer = objective.optimizer()
    for iteration in itertools.count():
        for match in objective.matches(iteration):
            distillation_step(match, optimizer, regularizers, context.streams, iteration)
            yield


def training_steps(
    context: Context, data: Split, recipe: TrainingRecipe, networks: int, in_plain: bool
) -> Iterator[None]:
    """A step is one pass of every network over ``data``."""
    trained = [context.new_network(context.streams("network", number)) for number in range(networks)]
    optimizers = [recipe.optimizer(network) for network in trained]
    step = plain.training_step if in_plain else train_step
    for epoch in itertools.count():
        for network, optimizer in zip(trained, optimizers, strict=True):
            generator = context.streams("train", epoch)
            order = torch.randperm(len(data), generator=generator).to(data.labels.device)
            for chunk in order.split(recipe.batch):
                step(network, optimizer, data[chunk], recipe, generator)
        yield


def cmi_steps(context: Context, term: plain.Term | None, pool: TeacherPool | None) -> Iterator[None]:
    """A step is the value of CMI on the whole set and its gradient in the images."""
    assert pool is not None
    decoded, regularizer = context.synthetic.decode(), CMI(pool)
    for number in itertools.count():
        images = decoded.images.clone().requires_grad_()
        if term is None:
            match = Match(torch.zeros(()), images, decoded.labels)
            value = regularizer(match, context.streams("cmi", number))
        else:
            value = term(images, decoded.labels)
        value.backward()
        yield


def _no_term(images: Tensor, labels: Tensor) -> Tensor:
    return images.new_zeros(())


PARTS = ("data", "augmentation", "regulariser", "backward")


class Shares:
    """How the time of a block divides: seconds in calls of each part, less those of other parts within them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[list[float]] = []
        self._patches = contextlib.ExitStack()

    def __enter__(self) -> "Shares":
        for part, owner, name in (
            ("data", Dataset, "class_batches"),
            ("data", Dataset, "cycled_class_batches"),
            ("data", Dataset, "cycled_batch"),
            ("augmentation", Transform, "__call__"),
            ("regulariser", CMI, "__call__"),
            ("backward", torch.Tensor, "backward"),
            ("backward", torch.autograd, "grad"),
        ):
            self._patches.enter_context(patch.object(owner, name, self._timed(part, getattr(owner, name))))
        return self

    def __exit__(self, *_: object) -> None:
        self._patches.close()

    def of(self, total: float) -> dict[str, float]:
        """The share of each part in ``total`` seconds, and the ``rest``: forward passes and Python."""
        shares = {part: self.seconds[part] / total for part in PARTS}
        return {**shares, "rest": 1 - sum(shares.values())}

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._stack.append([0.0])
            began = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                took = time.perf_counter() - began
                (within,) = self._stack.pop()
                self.seconds[part] += took - within
                if self._stack:
                    self._stack[-1][0] += took

        return call


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


def _timed(work: Iterator[None], device: torch.device) -> float:
    began = time.perf_counter()
    next(work)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
