"""Golden figures of the reference implementations, as tensors."""

from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parents[1] / "golden"


def load_golden(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.tensor(arrays[key]) for key in arrays.files if arrays[key].dtype.kind != "U"}


def load_parameters(network, golden, prefix):
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            parameter.copy_(golden[f"{prefix}_{i:02d}"])
    return network
