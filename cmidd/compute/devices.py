"""The device that a run computes on, and the most memory that it took there."""

import contextlib
import ctypes
import getpass
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from cmidd.compute.capabilities import lacking_code
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)
SAID = {"cuda": "CUDA device", "mps": "GPU of a Mac that torch computes on (mps)"}
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # parameters of mallopt(3)


def _has_cuda() -> bool:
    return torch.cuda.is_available()


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


AVAILABLE = {"cuda": _has_cuda, "mps": _has_mps}


def pick_device(name: str) -> torch.device:
    """``auto`` is a CUDA device where there is one, else the CPU: nobody has tested what a Mac's GPU computes.

    Raises:
        SettingError: when there is no such device, or this torch has no code for it.
    """
    if name == "auto":
        if lacks := lacking_code(torch.device("cuda")):
            log.warning("device=auto: the CPU, for %s", lacks)
        name = "cuda" if _has_cuda() and not lacks else "cpu"
        if name == "cpu" and _has_mps():
            log.info("device=auto: the CPU; device=mps is this Mac's GPU, which no test has seen (docs/laptops.md)")
    if name == "cpu":
        keep_freed_memory()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingError(f"device={name}: unknown; use auto, cpu, cuda, cuda:<n>, mps or free_gpu") from error
    if device.type in AVAILABLE and not AVAILABLE[device.type]():
        raise SettingError(f"device={name}: no {SAID[device.type]} here; use device=cpu or device=auto")
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        there_are = "1 CUDA device" if count == 1 else f"{count} CUDA devices"
        raise SettingError(f"device={name}: {there_are} here, counted from cuda:0; use cuda:{count - 1} or auto")
    return _computing(device)


def _computing(device: torch.device) -> torch.device:
    if lacks := lacking_code(device):
        raise SettingError(f"device={device}: {lacks}, or use device=cpu")
    return device


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
    if not _has_cuda():
        raise SettingError("device=free_gpu: no CUDA device here; use device=cpu or device=auto")
    # By their identity, because CUDA_VISIBLE_DEVICES renumbers them.
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))  # pragma: no cover (GPU)
    gpus = [str(one.uuid) for one in properties]  # pragma: no cover (GPU)
    with free_one(gpus, Path(tempfile.gettempdir()) / f"cmidd-gpus-{_user()}") as number:  # pragma: no cover (GPU)
        yield _computing(torch.device("cuda", number))
        torch.cuda.empty_cache()


def _user() -> str:
    """Who runs this, by name, or by number in a container that has no name for it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # OSError: Python 3.13
        return str(os.getuid())


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


def autocasts(device: torch.device) -> bool:
    """Whether torch computes in bfloat16 there: on a Mac from macOS 14 on, elsewhere always."""
    return device.type != "mps" or torch.backends.mps.is_macos_or_newer(14, 0)


def in_float64(values: Tensor) -> Tensor:
    """``values`` in float64: on their device, but for that of a Mac, which has none; then on the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def start_measuring_memory(device: torch.device) -> None:
    """Forget the peak so far, where the system can (CUDA, mps, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "mps":
        torch.mps.empty_cache()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mib(device: torch.device) -> float:
    """The most memory in use since :func:`start_measuring_memory`: of the GPU's allocator, else resident.

    Of a Mac's GPU it is what torch's pool took from the system, which it does not give back by itself. On a Mac's CPU
    and on Windows no peak is ever forgotten: it is that of the whole process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**20
    with contextlib.suppress(OSError):  # Linux; what getrusage tells there is never forgotten.
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10  # Of ru_maxrss: a Mac counts bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
