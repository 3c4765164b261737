"""On a real CUDA device every method computes what it computes on the CPU, and goes on to the same bits."""

import pytest
import torch

from cmidd import load_synthetic
from cmidd.utils import files
from tests.support.runs import TINY_METHOD, run_here, run_until

pytestmark = pytest.mark.gpu
WORDS = ["engine.precision=float32", "engine.compile=false", "cmi.lambda=0.1"]


@pytest.mark.parametrize("method", TINY_METHOD)
def test_the_first_losses_are_those_of_the_cpu(tmp_path, method):
    first = []
    for device in ("cpu", "cuda"):
        folder = run_here(tmp_path / device, method, *WORDS, f"device={device}")
        first.append(files.read_rows(folder / "metrics.jsonl")[0]["loss"])
    assert first[1] == pytest.approx(first[0], rel=5e-3)


@pytest.mark.parametrize("method", ["dm", "mtt"])
def test_a_deterministic_run_that_is_killed_goes_on_to_the_same_bits(tmp_path, method):
    words = [*WORDS, "engine.deterministic=true", "device=cuda", "evaluation.interval=2"]
    whole = run_here(tmp_path / "whole", method, *words)
    run_until(2, "checkpoint.safetensors", tmp_path / "killed", method, *words)
    resumed = run_here(tmp_path / "killed", method, *words)
    assert torch.equal(*(load_synthetic(each / "synthetic.safetensors").images for each in (whole, resumed)))
