"""Killed at any moment, a run goes on and ends as if nothing had been."""

import json
import subprocess
import sys

import pytest

from tests.support.runs import ROOT, SHORT, TINY, TINY_METHOD


def kill(method, timed, points, *words):
    """What :mod:`tests.support.crash_runs` says of a run that is killed ``timed`` times, and at ``points``."""
    command = [
        sys.executable,
        "-m",
        "tests.support.crash_runs",
        str(timed),
        str(points),
        *TINY,
        *TINY_METHOD[method],
        *SHORT,
    ]
    done = subprocess.run(
        [*command, "checkpoint_seconds=0", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    print(method, *words, done.stdout)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.ci
def test_a_run_that_is_killed_a_few_times_ends_with_the_same_files():
    landed = kill("dm", 4, 6)
    assert sum(landed["timed"].values()) == 4
    assert len(landed["at points"]) == 6


@pytest.mark.heavy
@pytest.mark.parametrize("method", list(TINY_METHOD))
def test_a_run_that_is_killed_a_hundred_times_and_wherever_it_writes_ends_with_the_same_files(method):
    words = ["method.experts.training.epochs=2"] if method == "mtt" else []
    landed = kill(method, 100, "all", *words)
    assert sum(landed["timed"].values()) == 100
    assert {
        "result.json: in its place",
        "checkpoint.safetensors: half written",
        "teacher: written, not flushed",
    } <= set(landed["at points"])


@pytest.mark.heavy
@pytest.mark.parametrize("words", [["wandb.mode=offline"], ["schedule=pdd"]])
def test_a_run_with_wandb_or_in_stages_is_killed_likewise(words):
    landed = kill("dm", 30, 20, *words)
    assert sum(landed["timed"].values()) == 30
