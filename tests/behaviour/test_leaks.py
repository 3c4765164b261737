"""Two thousand iterations take no more memory, files and threads than fifty."""

import json
import subprocess
import sys

import pytest

from tests.support.runs import ROOT, TINY, TINY_METHOD

# Prints memory (KiB), open files and threads after 50 and after 2,000 iterations, when a row of metrics is written.
MEASURE = """
import json, os, sys
from pathlib import Path
from cmidd.cli.compose import compose
from cmidd.runs.run import run
from cmidd.runs.tracking import Tracker
write, found = Tracker.__call__, {}
def measured(self, row):
    write(self, row)
    if row["iteration"] in (50, 2000) and "loss" in row:
        memory = int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])
        found[row["iteration"]] = [memory, len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))]
Tracker.__call__ = measured
run(compose(sys.argv[1:]), lambda _: {})
print(json.dumps(found))
"""


@pytest.mark.heavy
@pytest.mark.parametrize("method", list(TINY_METHOD))
def test_a_long_run_takes_no_more_than_a_short_one(tmp_path, method):
    words = [*TINY, *TINY_METHOD[method], "cmi.lambda=1", "method.iterations=2000", "evaluation.repeats=1"]
    words += ["evaluation.baselines=[]", "evaluation.interval=25", "checkpoint_seconds=1"]
    words += [f"results_root={tmp_path}/results", f"buffers_root={tmp_path}/buffers"]
    command = [sys.executable, "-c", MEASURE, *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    print(method, done.stdout)
    short, long = json.loads(done.stdout.splitlines()[-1]).values()
    assert long[0] < 1.05 * short[0]
    assert long[1:] <= short[1:]
