"""What a device ran out of, or never had, as one line: memory, and operations that torch lacks on a Mac's GPU."""

import contextlib
import re
from collections.abc import Iterator

from cmidd.utils.errors import SettingError
from cmidd.utils.text import in_bytes

# How torch's allocators, CUDA's libraries and Windows say it; numpy and Python raise MemoryError. cuBLAS that finds no
# room for itself at its first use says that it was not initialised.
NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|not enough memory|CU(BLAS|DNN)_STATUS_ALLOC_FAILED|"
    r"CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED|CUBLAS_STATUS_NOT_INITIALIZED when calling .cublasCreate",
    re.IGNORECASE,
)
ASKED_FOR = re.compile(r"(?:tried|unable) to allocate ([\d.]+) (\w+)", re.IGNORECASE)
NOT_ON_MPS = re.compile(r"The operator '([^']+)' is not currently (?:implemented|supported).* (?:for|on) the MPS")
LOWER = "lower batches, networks' widths or the number of images"


@contextlib.contextmanager
def named_shortage(ways: str = LOWER) -> Iterator[None]:
    """Have a lack of memory, or of an operation, end in a line and not in a traceback.

    Args:
        ways: the settings that lower the memory that the block takes, as the line names them.

    Raises:
        SettingError: naming the device, what it lacked, and the ways out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's OutOfMemoryError and NotImplementedError are the latter.
        if (said := _said(error, ways)) is None:
            raise
        raise SettingError(said) from error


def _said(error: Exception, ways: str) -> str | None:
    """The line for an error, None where it is of another kind."""
    text = str(error)
    if missing := NOT_ON_MPS.search(text):
        return (
            f"device=mps: torch cannot do {missing[1]} on a Mac's GPU; set PYTORCH_ENABLE_MPS_FALLBACK=1 in the "
            "environment, which does it on the CPU, or use device=cpu"
        )
    if not isinstance(error, MemoryError) and not NO_MEMORY.search(text):
        return None
    device = "cuda" if re.search("CUDA|CUBLAS|CUDNN|HIP", text) else "mps" if "MPS" in text else "cpu"
    asked = f" ({_amount(*found.groups())} more were asked for)" if (found := ASKED_FOR.search(text)) else ""
    return (
        f"device={device}: out of memory{asked}; {ways}; what a checkpoint holds is kept, and with more memory the "
        "same command goes on from there"
    )


def _amount(number: str, unit: str) -> str:
    return in_bytes(float(number)) if unit == "bytes" else f"{number} {unit}"
