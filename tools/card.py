"""What is asked of a CUDA device, and where the time of a step goes there: ``python tools/card.py > card.jsonl``.

By itself, in nine minutes: the tests for a card (to stderr) but for those that compile, then :data:`ROUND`, as far as
the time goes; what was not reached is said. Or with arguments of one's own, each a mode of ``cmidd bench``, tasks of
it, and after ``|`` more words for ``distill.py``: ``python tools/card.py "tf32:dm idm" "tf32 graphs:mtt|ipc=1"``.

A line of JSON for each task: milliseconds of a step that is waited for, of these the host's until it waits, and of one
of many in a row; how long the device computes, kernels, copies, waits, and memory; of one that fails, the error. All in
one process, which spares a minute for a dozen tasks. ``SECONDS`` of steps each.
"""

import collections
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch.profiler import ProfilerActivity, profile

from cmidd.bench.modes import engine_of
from cmidd.bench.workloads import Workload, method_of
from cmidd.cli.compose import compose
from cmidd.cli.configs import CONFIGS
from cmidd.compute import engine
from cmidd.utils.errors import one_line_errors

SECONDS = 0.5
MINUTES, MINUTES_OF_TESTS = 9.0, 3.5
ROUND = (
    "tf32:dm mtt idc dsa idm ncfm datm evaluation experts cmi",
    "tf32 graphs:mtt evaluation dm cmi idc",
    "float32:dm",
    "bf16:dm dsa mtt",
    "tf32:evaluation mtt|ipc=1",
    "tf32 graphs:evaluation mtt|ipc=1",
    "tf32:dsa idc mtt ncfm|dataset=cifar100",
    "bf16 compiled:dm cmi",
    "tf32 compiled:dm mtt evaluation idc",
    "tf32 compiled graphs:mtt",
)
SHORT = ["dataset=cifar10", "ipc=10", "cmi.pool=1", "cmi.epochs=1"]
FEWER = OmegaConf.load(CONFIGS / "command" / "bench.yaml").overrides  # experts, by task


def main(arguments: Sequence[str]) -> None:
    if not torch.cuda.is_available():
        sys.exit("tools/card.py: there is no CUDA device; cmidd bench measures a CPU")
    ends = float("inf")
    if not arguments:
        arguments, ends = ROUND, time.monotonic() + 60 * MINUTES
        _test()
    with tempfile.TemporaryDirectory() as buffers:
        for argument in arguments:
            which, _, more = argument.partition("|")
            mode, _, tasks = which.partition(":")
            for task in tasks.split():
                if time.monotonic() > ends:
                    print(f"not measured, for the time is over: {mode} {task} {more}", file=sys.stderr)
                    continue
                words = [*SHORT, *FEWER.get(task, []), f"buffers_root={buffers}", *more.split()]
                print(json.dumps({"task": task, "mode": mode, "words": more} | _tried(task, mode, words)), flush=True)


def _test() -> None:
    """Run the tests for a card, each of which is named as it ends."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "gpu",
        "-k",
        "not compiled",
        "-v",
        "-p",
        "no:cacheprovider",
        "tests",
    ]
    root, environment = Path(__file__).parents[1], {**os.environ, "CMIDD_GPU": "1"}
    try:
        subprocess.run(
            command, cwd=root, env=environment, stdout=sys.stderr, timeout=60 * MINUTES_OF_TESTS, check=False
        )
    except subprocess.TimeoutExpired:
        print(f"the tests were stopped after {MINUTES_OF_TESTS} minutes", file=sys.stderr)


def _tried(task: str, mode: str, words: list[str]) -> dict[str, Any]:
    """What is said of one task, or why it failed: a minute of a card is worth more than an end."""
    gc.collect()  # What the last one left would be in this one's memory.
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        return measured(task, mode, words)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def measured(task: str, mode: str, words: list[str]) -> dict[str, Any]:
    """What is said of one task in one mode."""
    settings = compose([f"method={method_of(task)}", *words])
    device = torch.device("cuda", 0)
    with engine.using(engine_of(mode, device)):
        workload = Workload(task, settings, None, 300, device)
        steps, _ = workload.steps(workload.context())
        began = time.perf_counter()
        for _ in range(3):
            next(steps)
        torch.cuda.synchronize()
        return {"three_steps_s": round(time.perf_counter() - began, 2)} | _times(steps) | _launches(steps)


def _times(steps: Iterator[None]) -> dict[str, Any]:
    waited: list[float] = []
    host: list[float] = []
    while sum(waited) < SECONDS or len(waited) < 3:
        began = time.perf_counter()
        next(steps)
        host.append(time.perf_counter() - began)
        torch.cuda.synchronize()
        waited.append(time.perf_counter() - began)
    many, began = max(3, min(50, int(SECONDS / statistics.median(waited)))), time.perf_counter()
    for _ in range(many):
        next(steps)
    torch.cuda.synchronize()
    in_a_row = (time.perf_counter() - began) / many
    return {
        "n": len(waited),
        "ms": _milliseconds(statistics.median(waited)),
        "least": _milliseconds(min(waited)),
        "most": _milliseconds(max(waited)),
        "host_ms": _milliseconds(statistics.median(host)),
        "in_a_row_ms": _milliseconds(in_a_row),
        "in_a_row_n": many,
        "most_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
    }


def _launches(steps: Iterator[None]) -> dict[str, Any]:
    """Of one more step each: its waits, and what the device does."""
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        next(steps)
    torch.cuda.set_sync_debug_mode("default")
    waits = collections.Counter(
        f"{each.filename.rpartition('/')[2]}:{each.lineno}" for each in seen if "synchroniz" in str(each.message)
    )
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        next(steps)
        torch.cuda.synchronize()
    launched = [each for each in profiled.events() if each.device_type == torch.autograd.DeviceType.CUDA]
    kernels = [each for each in launched if not each.name.startswith("Mem")]
    return {
        "waits": waits.total(),
        "waits_at": dict(waits.most_common(5)),
        "kernels": len(kernels),
        "copies": len(launched) - len(kernels),
        "busy_ms": round(sum(each.time_range.elapsed_us() for each in launched) / 1e3, 2),
    }


def _milliseconds(seconds: float) -> float:
    return round(1e3 * seconds, 2)


if __name__ == "__main__":
    with one_line_errors():
        main(sys.argv[1:])
