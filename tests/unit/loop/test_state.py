"""A checkpoint holds all that an optimiser remembers, whichever a method has."""

import pytest
import torch

from cmidd.core.method import Method
from cmidd.utils.tensor_files import read_tensors
from tests.support.runs import run_here, run_until

OPTIMIZERS = {
    "adamw": torch.optim.AdamW,
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, momentum=0.5, centered=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_of_a_method_with_an_optimizer_of_its_own_goes_on_to_the_same_bits(tmp_path, monkeypatch, name):
    sgd = Method.optimizer
    monkeypatch.setattr(Method, "optimizer", lambda self: OPTIMIZERS[name](sgd(self).param_groups))
    words = ["method.iterations=6", "method.lr_img=0.01", "checkpoint_seconds=0"]
    whole = run_here(tmp_path / "whole", "dm", *words)
    run_until(3, "checkpoint.safetensors", tmp_path / "killed", "dm", *words)
    killed = run_here(tmp_path / "killed", "dm", *words)
    (expected, _), (found, _) = (read_tensors(folder / "checkpoint.safetensors") for folder in (whole, killed))
    assert found.keys() == expected.keys() >= {"leaf_0", "step_0"}
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
