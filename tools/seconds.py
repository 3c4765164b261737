"""Seconds per iteration of any settings, in turns: ``python tools/seconds.py "method=dm" "method=dm sampler=dream"``.

Every argument holds the words of one ``distill.py`` line, which runs on one thread for ``SECONDS`` after a first
iteration that is not timed. Without a GPU these are CPU seconds of this process, whatever else the machine does.
"""

import json
import logging
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch

from cmidd.bench.workloads import method_steps
from cmidd.cli.compose import compose
from cmidd.compute.devices import pick_device
from cmidd.methods import METHODS
from cmidd.runs.build import make_context, make_regularizers, make_teachers
from cmidd.utils.errors import one_line_errors

SECONDS = 1.5


def iterations(words: list[str]) -> Iterator[None]:
    """Run one iteration of the first stage after another."""
    settings = compose(words)
    context = make_context(settings, pick_device(settings.device))
    method = METHODS[settings.method["name"]](context, **settings.arguments)
    steps = method_steps(context, method, make_regularizers(settings, context, make_teachers(settings, context)))
    while True:
        for _ in range(method.main_steps):
            next(steps)
        yield


def main(lines: list[str]) -> None:
    torch.set_num_threads(1)
    running = {line: iterations(line.split()) for line in lines}
    for turn in running.values():
        next(turn)
    taken: dict[str, list[float]] = {line: [] for line in lines}
    clock: Callable[[], float] = time.perf_counter if torch.cuda.is_available() else time.process_time
    while any(sum(seconds) < SECONDS for seconds in taken.values()):
        for line, turn in running.items():
            if sum(taken[line]) < SECONDS:
                began = clock()
                next(turn)
                taken[line].append(clock() - began)
    rows = {
        line: {"median": statistics.median(s), "least": min(s), "most": max(s), "n": len(s)}
        for line, s in taken.items()
    }
    print(json.dumps({"threads": torch.get_num_threads(), "seconds_per_iteration": rows}, indent=2))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    logging.basicConfig(level=logging.ERROR)
    with one_line_errors():
        main(sys.argv[1:])
