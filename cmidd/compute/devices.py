"""The device that a run computes on, and the most memory that it took there."""

import contextlib
import ctypes
import getpass
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from cmidd.utils.errors import SettingError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # parameters of mallopt(3)


def pick_device(name: str) -> torch.device:
    """``auto`` is the GPU where there is one.

    Raises:
        SettingError: when there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        keep_freed_memory()
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise SettingError(f"device={name}: no CUDA device here; use device=cpu or device=auto")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"device={name}: unknown; use auto, cpu, cuda, cuda:<n> or free_gpu") from error


def keep_freed_memory() -> None:
    """Take the memory of large tensors from what was freed before, not from the system, where malloc is glibc's.

    The system hands memory out page by page and zeroed, anew for every tensor: measured on two cores, 40 per cent of
    a step of DM. The process keeps the most that it ever needed until it ends.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, 64 * 2**20)):
            mallopt(parameter, value)


@contextlib.contextmanager
def claimed_device(name: str) -> Iterator[torch.device]:
    """:func:`pick_device`; ``free_gpu`` waits for a GPU of this machine that no other such run has, and holds it."""
    if name != "free_gpu":
        yield pick_device(name)
        return
    if not torch.cuda.is_available():
        raise SettingError("device=free_gpu: no CUDA device here; use device=cpu or device=auto")
    # By their identity, because CUDA_VISIBLE_DEVICES renumbers them.
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))  # pragma: no cover (GPU)
    gpus = [str(one.uuid) for one in properties]  # pragma: no cover (GPU)
    with free_one(
        gpus, Path(tempfile.gettempdir()) / f"cmidd-gpus-{getpass.getuser()}"
    ) as number:  # pragma: no cover (GPU)
        yield torch.device("cuda", number)
        torch.cuda.empty_cache()


@contextlib.contextmanager
def free_one(names: list[str], folder: Path, poll_seconds: float = 0.5) -> Iterator[int]:
    """Hold the lock of one of ``names``, waiting until one is free; yields its index.

    The operating system frees the lock when its process dies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for index, name in enumerate(names):
            lock = FileLock(folder / f"{name}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield index
            finally:
                lock.release()
            return
        time.sleep(poll_seconds)


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has done what it was given (CUDA, mps); the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def start_measuring_memory(device: torch.device) -> None:
    """Forget the peak so far, where the system can (CUDA, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mib(device: torch.device) -> float:
    """The most memory in use since :func:`start_measuring_memory`: of the GPU's allocator, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError):  # Linux; what getrusage tells there is never forgotten.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
