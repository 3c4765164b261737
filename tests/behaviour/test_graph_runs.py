"""Whole runs that replay graphs, by the stand-in for them on a pretended GPU, are those of plain steps to the bit."""

import pytest
import torch

from cmidd import load_synthetic
from cmidd.utils import files
from tests.support.graph_stand_in import stand_in
from tests.support.pretended import pretended_device
from tests.support.runs import TINY_METHOD, run_here

WORDS = ["device=cuda", "engine.compile=false", "engine.precision=float32", "network.depth=2", "ipc=2"]
WORDS += ["cmi.teacher=convnet", "cmi.lambda=0.1"]
MOST_DIFFERENT = ("dm", "mtt", "idc")  # The others replay what these do.


@pytest.mark.parametrize(
    "method",
    [each if each in MOST_DIFFERENT else pytest.param(each, marks=pytest.mark.heavy) for each in TINY_METHOD],
)
def test_a_run_in_graphs_leaves_the_bits_of_plain_steps(method, tmp_path, monkeypatch):
    made, ends = stand_in(monkeypatch), []
    for graphs in ("false", "true"):
        assert not made
        with pretended_device("cuda"):
            folder = run_here(tmp_path / graphs, method, *WORDS, f"engine.graphs={graphs}")
        images = load_synthetic(folder / "synthetic.safetensors").images
        ends.append((images, files.read_json(folder / "result.json")["last"]["accuracies"]))
    assert torch.equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    assert sum(graph.replays for graph in made) > 4
