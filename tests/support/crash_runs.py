"""Kill distill.py again and again: does it always end the same?

``python -m tests.support.crash_runs TIMED POINTS WORDS ...``

Imports once, composes the settings of WORDS once and forks a child for every start. Kills it (SIGKILL) TIMED times at a
random moment and once at each of POINTS points (``all``) of what it writes. Each run is gone on with until it is done;
then its files must be those of an undisturbed run. Prints as JSON where the kills landed.
"""

import collections
import contextlib
import dataclasses
import functools
import json
import mmap
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import cmidd.buffers.experts
import cmidd.buffers.teachers
import cmidd.compute.kept
import cmidd.runs.run
import cmidd.runs.stages
from cmidd.cli.app import app
from cmidd.utils import cache, files, tensor_files
from cmidd.utils.nested import differences
from tests.support import imported  # noqa: F401 (here, not anew in every child)

TIMES = ("seconds", "evaluation_seconds", "evaluated_at", "evaluated_at_seconds", "peak_memory_mib")
LONGEST = 200
shared = mmap.mmap(-1, LONGEST)  # What a child is at, for its parent to read when it is dead.


class Watched:
    """What a child does in a run: the phase it is in, and the points at which it can be told to die."""

    def __init__(self, die_at: str | None, log: Path | None) -> None:
        self.die_at, self.log = die_at, log
        self.phase = "starting"
        self.enter("starting")

    def enter(self, phase: str) -> None:
        self.phase = phase
        shared[:] = phase.encode().ljust(LONGEST)

    @contextlib.contextmanager
    def during(self, phase: str):
        before = self.phase
        self.enter(phase)
        try:
            yield
        finally:
            self.enter(before)

    def point(self, name: str, last_wish=lambda: None) -> None:
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(f"{name}\n")
        if name == self.die_at:
            last_wish()
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """Put itself around what the run calls."""
        cmidd.compute.kept.KEPT_SECONDS = 0.0  # Every epoch of a teacher or expert is written.
        for module, name, phase in (
            (cmidd.buffers.experts.Experts, "_make", "making experts"),
            (cmidd.buffers.teachers, "train_all_kept", "making teachers"),
            (cmidd.runs.stages, "distill", "distilling"),
            (cmidd.runs.run, "baselines", "making baselines"),
            (cmidd.runs.run, "evaluate_set", "evaluating"),
            (cmidd.runs.run, "report", "after DONE"),
        ):
            setattr(module, name, self._around(getattr(module, name), phase))
        whole, append, fsync = files.atomic_write, files.append_line, os.fsync

        @contextlib.contextmanager
        def atomic_write(path, size=None):
            what = kind(path)
            with self.during(f"writing {what}"):
                with whole(path, size) as beside:
                    self.point(f"{what}: nothing written")
                    yield beside
                    self.point(f"{what}: half written", lambda: os.truncate(beside, beside.stat().st_size // 2))
                    self.point(f"{what}: written, not flushed")
                    self.what = what
                self.point(f"{what}: in its place")
            if what == "result.json":
                self.enter("between result.json and DONE")

        def flush(number):
            fsync(number)
            self.point(f"{self.what}: flushed, not renamed")

        def append_line(path, line):
            with self.during("appending to metrics.jsonl"):
                self.point("a row: not written")
                self.point("a row: half written", lambda: path.open("a").write(line[: len(line) // 2]))
                append(path, line)
                self.point("a row: written")

        files.atomic_write, files.append_line, os.fsync = atomic_write, append_line, flush

    def _around(self, function, phase):
        @functools.wraps(function)
        def call(*arguments, **settings):
            with self.during(phase):
                return function(*arguments, **settings)

        return call


def kind(path: Path) -> str:
    """What a file is, whatever its number or hash."""
    return path.parent.name if path.parent.name == "baselines" else path.name.partition("_")[0]


def fork(settings, admitted, die_at=None, log=None) -> int:
    """Start a child that runs ``settings``; it leaves with 0, or with 1 and a traceback."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        watched = Watched(die_at, log)
        watched.watch()
        cmidd.runs.run.run(settings, admitted)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> bool:
    """Wait for a child: whether it came to its end, and was not killed."""
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return False
    assert status == 0, f"a run failed: {status}"
    return True


def left_by(root: Path) -> dict[str, object]:
    """What a finished run must have in common with any other: bytes, figures (no times), the state that it ended in.

    Not the lock's file of a process that was killed: nobody holds it.
    """
    left: dict[str, object] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"):
        name = str(path.relative_to(root))
        if path.name == "result.json":
            left[name] = timeless(files.read_json(path))
        elif path.name.startswith("checkpoint"):
            tensors, about = tensor_files.read_tensors(path)
            left[name] = timeless(about) | {key: cache.fingerprint(tensor.tolist()) for key, tensor in tensors.items()}
        elif path.name not in ("distill.log", "wandb_id.txt") and "wandb" not in path.parts:
            left[name] = path.read_bytes()
    return left


def timeless(record: dict[str, object]) -> dict[str, object]:
    """A record without what no two runs have in common."""
    return {key: value for key, value in record.items() if key not in TIMES}


def main(timed: int, most_points: str, settings, admitted) -> None:
    chance, landed, lives = random.Random(0), {"timed": collections.Counter(), "at points": []}, 0
    with tempfile.TemporaryDirectory() as folder:

        def rooted(name: str):
            roots = {"results_root": f"{folder}/{name}/results", "buffers_root": f"{folder}/{name}/buffers"}
            return dataclasses.replace(settings, **roots)

        began = time.monotonic()
        assert ended(fork(rooted("whole"), admitted, log=Path(folder, "points")))
        takes, whole = time.monotonic() - began, left_by(Path(folder, "whole"))
        points = list(dict.fromkeys(Path(folder, "points").read_text().splitlines()))
        chance.shuffle(points)
        points = points[: None if most_points == "all" else int(most_points)]
        kills = [None] * timed
        while kills or points:
            lives += 1
            own, over = rooted("killed"), False
            while not over:
                use_point = points and chance.random() < len(points) / (len(points) + len(kills))
                die_at = chance.choice(points) if use_point else None
                child = fork(own, admitted, die_at)
                if die_at is None and kills:
                    time.sleep(chance.uniform(0, takes))
                    os.kill(child, signal.SIGKILL)
                over = ended(child)
                if not over and die_at is None:
                    kills.pop()
                    landed["timed"][bytes(shared).decode().strip()] += 1
                elif not over:
                    points.remove(die_at)
                    landed["at points"].append(die_at)
            left = left_by(Path(folder, "killed"))
            assert left.keys() == whole.keys(), sorted(left.keys() ^ whole.keys())
            assert left == whole, [name for name, _, _ in differences(whole, left)]
            Path(folder, "killed").rename(Path(folder, f"life{lives}"))
    print(json.dumps({"seconds": takes, "runs": lives, **landed}))


if __name__ == "__main__":
    timed, points = sys.argv[1:3]
    del sys.argv[1:3]
    app(lambda: functools.partial(main, int(timed), points), sys.argv[1:])
