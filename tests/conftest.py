"""Golden figures of the reference implementations, as tensors."""

import os
from pathlib import Path

# Here and in the processes that tests start: on tensors this small a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch

GOLDEN = Path(__file__).parent / "golden"


def load_golden(name: str) -> dict[str, torch.Tensor]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return {key: torch.tensor(arrays[key]) for key in arrays.files if arrays[key].dtype.kind != "U"}


@pytest.fixture(params=["rgb32", "gray28"])
def golden_set(request):
    return request.param


def load_parameters(network, golden, prefix):
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):
            parameter.copy_(golden[f"{prefix}_{i:02d}"])
    return network
