"""On a real CUDA device every method computes what it computes on the CPU, however it is computed, and goes on to the
same bits.
"""

import pytest
import torch

from cmidd import load_synthetic
from cmidd.utils import files
from tests.support.runs import TINY_METHOD, run_here, run_until

pytestmark = pytest.mark.gpu
PLAIN = ["engine.precision=float32", "engine.compile=false", "cmi.lambda=0.1"]


def first_loss(folder):
    return files.read_rows(folder / "metrics.jsonl")[0]["loss"]


def images(folder):
    return load_synthetic(folder / "synthetic.safetensors").images


def accuracies(folder):
    return files.read_json(folder / "result.json")["last"]["accuracies"]


@pytest.mark.parametrize("method", TINY_METHOD)
def test_the_first_losses_are_those_of_the_cpu(tmp_path, method):
    cpu, card = (run_here(tmp_path / device, method, *PLAIN, f"device={device}") for device in ("cpu", "cuda"))
    assert first_loss(card) == pytest.approx(first_loss(cpu), rel=5e-3)


def test_dream_chooses_on_a_card_as_on_the_cpu(tmp_path):
    words = [*PLAIN, "sampler=dream"]
    cpu, card = (run_here(tmp_path / device, "idc", *words, f"device={device}") for device in ("cpu", "cuda"))
    assert first_loss(card) == pytest.approx(first_loss(cpu), rel=5e-3)


@pytest.mark.parametrize("method", TINY_METHOD)
def test_replayed_graphs_leave_the_bits_of_plain_steps(tmp_path, method):
    words = [*PLAIN, "engine.deterministic=true", "device=cuda"]
    plain, replayed = (
        run_here(tmp_path / graphs, method, *words, f"engine.graphs={graphs}") for graphs in ("false", "true")
    )
    assert torch.equal(images(plain), images(replayed))
    assert accuracies(plain) == accuracies(replayed)


@pytest.mark.parametrize("method", ["dm", "dsa", "idc", "mtt", "datm"])
def test_compiled_passes_give_the_losses_of_the_cpu(tmp_path, method):
    words = ["engine.precision=float32"]
    cpu = run_here(tmp_path / "cpu", method, *words, "device=cpu", "engine.compile=false")
    card = run_here(tmp_path / "cuda", method, *words, "device=cuda", "engine.compile=true")
    assert first_loss(card) == pytest.approx(first_loss(cpu), rel=5e-3)


@pytest.mark.parametrize("method", ["dsa", "mtt"])
def test_compiled_passes_are_replayed_as_graphs(tmp_path, method):
    words = ["engine.precision=float32", "engine.compile=true", "device=cuda"]
    plain, replayed = (
        run_here(tmp_path / graphs, method, *words, f"engine.graphs={graphs}") for graphs in ("false", "true")
    )
    torch.testing.assert_close(images(replayed), images(plain), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("graphs", ["false", "true"])
def test_networks_of_an_evaluation_at_once_are_those_of_one_by_one(tmp_path, graphs):
    words = [*PLAIN, "device=cuda", f"engine.graphs={graphs}"]
    single, together = (run_here(tmp_path / str(n), "dm", *words, f"engine.at_once={n}") for n in (1, 2))
    assert accuracies(together) == pytest.approx(accuracies(single), abs=0.6)  # Two of 360 test images.


@pytest.mark.parametrize("method", ["dm", "mtt"])
def test_a_deterministic_run_that_is_killed_goes_on_to_the_same_bits(tmp_path, method):
    words = [*PLAIN, "engine.deterministic=true", "device=cuda", "evaluation.interval=2"]
    whole = run_here(tmp_path / "whole", method, *words)
    run_until(2, "checkpoint.safetensors", tmp_path / "killed", method, *words)
    resumed = run_here(tmp_path / "killed", method, *words)
    assert torch.equal(images(whole), images(resumed))
