"""Whole runs on the digits, made tiny, in this process or another."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from cmidd.cli.compose import compose
from cmidd.runs.run import run
from cmidd.utils import tensor_files
from tests.support.forked import run_script

ROOT = Path(__file__).parents[2]
TINY = [
    "network.width=8",
    "evaluation.repeats=2",
    "evaluation.training.epochs=2",
    "evaluation.whole.epochs=1",
    "cmi.pool=1",
    "cmi.epochs=1",
]
TINY_METHOD = {
    "dm": ["method=dm", "method.iterations=4"],
    "mtt": [
        "method=mtt",
        "method.iterations=4",
        "method.syn_steps=2",
        "method.expert_epochs=1",
        "method.max_start_epoch=1",
        "method.experts.count=2",
        "method.experts.training.epochs=1",
    ],
    "dc": ["method=dc", "method.iterations=3", "method.batch_real=8", "method.outer_loop=2", "method.net.epochs=1"],
    "dsa": ["method=dsa", "method.iterations=3", "method.batch_real=8", "method.outer_loop=2", "method.net.epochs=1"],
    "idm": [
        "method=idm",
        "method.formation.factor=2",
        "method.iterations=4",
        "method.batch_real=8",
        "method.queue_start=2",
        "method.queue_size=3",
        "method.net_generate_interval=1",
        "method.net_steps=2",
        "method.meter_reset=3",
    ],
    "idc": [
        "method=idc",
        "method.formation.factor=2",
        "method.iterations=3",
        "method.inner_loop=2",
        "method.batch_real=8",
        "method.net_images=64",
    ],
    "datm": [
        "method=datm",
        "method.iterations=4",
        "method.syn_steps=2",
        "method.expert_epochs=1",
        "method.first_max_start_epoch=1",
        "method.max_start_epoch=2",
        "method.experts.count=2",
        "method.experts.training.epochs=3",
        "method.experts.training.batch=256",
        "evaluation.training.loss=soft",
    ],
    "ncfm": [
        "method=ncfm",
        "method.iterations=3",
        "method.batch_real=8",
        "method.num_freqs=32",
        "method.models.count=2",
        "method.models.training.epochs=2",
        "method.models.training.batch=256",
    ],
}


def distill(cwd, *overrides, tiny=True, forked=True):
    """Run ``distill.py`` in a process of its own; one that starts others that outlive a run may not be forked."""
    words = [*(TINY if tiny else []), *overrides]
    if forked:
        return run_script("distill", *words, cwd=cwd)
    command = [sys.executable, str(ROOT / "scripts" / "distill.py"), *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def result(cwd, method, cmi, seed=0, ipc=10):
    return cwd / "results" / "digits" / method / f"ipc{ipc}" / f"cmi{cmi}" / f"seed{seed}"


class Killed(BaseException):
    """What a run that dies does not catch."""


def run_here(folder: Path, method: str, *words: str) -> Path:
    """Run ``distill.py method=<method> <words>`` and return the run's folder; caches are shared by a test's runs."""
    roots = [f"results_root={folder}", f"buffers_root={folder.parent / 'buffers'}"]
    settings = compose([*TINY, *TINY_METHOD[method], "evaluation.baselines=[]", *roots, *words])
    run(settings, lambda _: {})
    return settings.folder


def run_until(iteration: int, checkpoint: str, folder: Path, method: str, *words: str) -> None:
    """As :func:`run_here`, but it dies when the checkpoint of that name holds ``iteration``."""
    write = tensor_files.write_tensors

    def dying(path, tensors, about):
        write(path, tensors, about)
        if path.name == checkpoint and about.get("iteration") == iteration:
            raise Killed

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(tensor_files, "write_tensors", dying)
        run_here(folder, method, *words)


def wait_for(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


SHORT = [
    "method.iterations=12",
    "evaluation.interval=5",
    "evaluation.baselines=[random]",
    "cmi.lambda=1",
    "cmi.epochs=2",
]


def again(folder, *words, method="dm"):
    roots = [f"results_root={folder}", f"buffers_root={folder.parent / 'buffers'}", "checkpoint_seconds=0"]
    chosen = compose([*TINY, *TINY_METHOD[method], "evaluation.baselines=[]", *roots, *words])
    return run(chosen, lambda _: {})
