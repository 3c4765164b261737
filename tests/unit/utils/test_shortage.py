"""A lack of memory, or of an operation, is a line that says the way out."""

import numpy as np
import pytest
import torch

from cmidd.utils.errors import SettingError
from cmidd.utils.shortage import named_shortage

KEPT = "; what a checkpoint holds is kept, and with more memory the same command goes on from there"
CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.31 GiB is "
    "free. Including non-PyTorch memory, this process has 77.78 GiB memory in use."
)
MPS = (
    "MPS backend out of memory (MPS allocated: 17.98 GiB, other allocations: 96.00 KiB, max allowed: 18.13 GiB). Tried "
    "to allocate 256.00 MiB on private pool. Use PYTORCH_MPS_HIGH_WATERMARK_RATIO=0.0 to disable upper limit."
)
CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
FULL = "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"
CUDNN = "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"
CUDNN_9 = "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"
MISSING = (
    "The operator 'aten::linalg_eigh' is not currently implemented for the MPS device. As a temporary fix, you can set "
    "the environment variable `PYTORCH_ENABLE_MPS_FALLBACK=1` to use the CPU as a fallback for this op."
)


def fail(error):
    raise error


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (
            lambda: fail(torch.OutOfMemoryError(CUDA)),
            "device=cuda: out of memory (2.50 GiB more were asked for); ipc",
        ),
        (lambda: fail(RuntimeError(CUBLAS)), "device=cuda: out of memory; ipc"),
        (lambda: fail(RuntimeError(FULL)), "device=cuda: out of memory; ipc"),
        (lambda: fail(RuntimeError(CUDNN)), "device=cuda: out of memory; ipc"),
        (lambda: fail(RuntimeError(CUDNN_9)), "device=cuda: out of memory; ipc"),
        (lambda: fail(RuntimeError(MPS)), "device=mps: out of memory (256.00 MiB more were asked for); ipc"),
        (lambda: torch.empty(10**15), "device=cpu: out of memory (4000000.0 GB more were asked for); ipc"),
        (lambda: np.empty(10**15), "device=cpu: out of memory (7.11 PiB more were asked for); ipc"),
        (lambda: fail(MemoryError()), "device=cpu: out of memory; ipc"),
    ],
    ids=["CUDA", "cuBLAS", "cuBLAS on a full card", "cuDNN", "cuDNN 9", "mps", "torch on the CPU", "numpy", "Python"],
)
def test_memory_that_runs_out_names_the_device_and_the_settings_to_lower(work, said):
    with pytest.raises(SettingError) as error, named_shortage("ipc"):
        work()
    assert str(error.value) == said + KEPT


def test_an_operation_that_a_mac_lacks_names_it_and_the_ways_out():
    with pytest.raises(SettingError) as error, named_shortage():
        raise NotImplementedError(MISSING)
    assert str(error.value) == (
        "device=mps: torch cannot do aten::linalg_eigh on a Mac's GPU; set PYTORCH_ENABLE_MPS_FALLBACK=1 in the "
        "environment, which does it on the CPU, or use device=cpu"
    )


@pytest.mark.parametrize("error", [RuntimeError("shape mismatch"), NotImplementedError(), KeyError("ipc")])
def test_any_other_error_stays_what_it_is(error):
    with pytest.raises(type(error)) as raised_here, named_shortage():
        raise error
    assert raised_here.value is error
