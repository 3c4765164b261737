"""Runs on the GPU of a Mac, pretended: all that it lacks (float64, generators of its own) stays on the CPU."""

import json

import pytest
import torch

from cmidd import load_synthetic
from tests.support.pretended import pretended_device
from tests.support.runs import run_here

WORDS = ["dataset.zca=true", "cmi.ratio=0.3", "balance_steps=2", "network.width=4", "network.depth=2", "ipc=2"]


@pytest.mark.parametrize("method", ["dm", "mtt"])
def test_a_run_with_zca_and_cmi_gives_what_the_cpu_gives(tmp_path, method):
    words = [*WORDS, "method.iterations=2"]
    with pretended_device("mps"):
        there = run_here(tmp_path / "there", method, *words)
    here = run_here(tmp_path / "here", method, *words, "device=cpu")
    assert json.loads((there / "result.json").read_text())["device"].startswith("mps (")
    images = [load_synthetic(folder / "synthetic.safetensors").images for folder in (there, here)]
    assert torch.allclose(*images, atol=1e-6)
