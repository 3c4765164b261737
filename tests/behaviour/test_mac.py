"""Runs on the GPU of a Mac, pretended: all that it lacks (float64, generators of its own) stays on the CPU."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cmidd import load_synthetic
from cmidd.compute import passes
from cmidd.compute.engine import Engine, using
from cmidd.data import image_ops
from tests.support.pretended import pretended_device
from tests.support.runs import run_here

WORDS = ["dataset.zca=true", "cmi.ratio=0.3", "balance_steps=2", "network.width=4", "network.depth=2", "ipc=2"]


@pytest.mark.parametrize("method", ["dm", "mtt"])
def test_a_run_with_zca_and_cmi_gives_what_the_cpu_gives(tmp_path, method):
    words = [*WORDS, "method.iterations=2"]
    with pretended_device("mps"):
        there = run_here(tmp_path / "there", method, *words, "device=mps")
    here = run_here(tmp_path / "here", method, *words, "device=cpu")
    assert json.loads((there / "result.json").read_text())["device"].startswith("mps (")
    images = [load_synthetic(folder / "synthetic.safetensors").images for folder in (there, here)]
    assert torch.allclose(*images, atol=1e-6)


class Seen(nn.Module):
    """Remembers how images lie that it is given."""

    def forward(self, images):
        self.contiguous = images.is_contiguous()
        return images.flatten(1)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_networks_see_images_in_the_layout_whose_gradients_are_right(precision):
    network, images = Seen(), torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    with pretended_device("mps"), using(Engine(precision)):
        passes.logits(network, images.to("mps"))
    assert network.contiguous


def test_resampling_asks_for_no_gradient_that_a_mac_lacks(monkeypatch):
    theta = torch.tensor([[[0.9, 0.1, 0.0], [-0.1, 0.9, 0.1]]])
    images = torch.rand(1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    expected = F.grid_sample(images, grid, align_corners=False)
    monkeypatch.delattr(F, "grid_sample")
    with pretended_device("mps"):
        assert torch.allclose(image_ops._sampled(images.to("mps"), grid.to("mps"), False).cpu(), expected, atol=1e-6)
