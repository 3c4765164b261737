"""Whole runs on the digits, made tiny, in this process."""

from pathlib import Path

import pytest

from cmidd.cli.compose import compose_run
from cmidd.runs.run import run
from cmidd.utils import tensor_files
from tests.test_run import TINY, TINY_METHOD


class Killed(BaseException):
    """What a run that dies does not catch."""


def run_here(folder: Path, method: str, *words: str) -> Path:
    """Run ``distill.py method=<method> <words>`` and return the run's folder; caches are shared by a test's runs."""
    roots = [f"results_root={folder}", f"buffers_root={folder.parent / 'buffers'}"]
    settings, arguments = compose_run([*TINY, *TINY_METHOD[method], "evaluation.baselines=[]", *roots, *words])
    run(settings, arguments, lambda _: {})
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
