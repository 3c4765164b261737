"""The engine that networks are computed with: precision, compilation and memory layout, one switch for the process.

:mod:`cmidd.compute.passes` computes as the :class:`Engine` in force says. Outside :func:`using` that is float32, not
compiled: what the golden figures are checked against. ``bf16`` and ``tf32`` change the numbers (README: what that does
to accuracies); compilation reorders sums.
"""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field

from cmidd.compute import compilers
from cmidd.compute.capabilities import has_tf32, lacking_for_triton
from cmidd.compute.devices import autocasts
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Count

log = logging.getLogger(__name__)
T = TypeVar("T")
Precision = Literal["float32", "tf32", "bf16"]
# From how many image values on compiling pays, by the device. It costs about a minute: on two cores plain passes of so
# many take ten. On an H200 it cost 44 s and saved 10 to 16 ms of a step of DM with its 8.2e6 values
# (results/evidence/gpu.md), so it is earned back after 2e10 to 4e10.
LONG_RUN_VALUES = {"cpu": 1.2e9, "cuda": 1e11}  # Elsewhere compiling is an experiment of torch, and asked for.

# What is computed before or outside of an engine is float32 as well, and recorded so: torch's own default is TF32.
torch.backends.cudnn.allow_tf32 = False
# Read by cuBLAS when it is first used, and asked for by engine.deterministic: too late once a run is known. As large as
# the workspace that torch takes on an H100 anyway.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@dataclass(frozen=True)
class Engine:
    """``precision`` of convolutions and matrix products; ``compile``: one fused kernel for what lies between;
    ``deterministic``: CUDA adds up in the same order every time, as the CPU does anyway; ``at_once``: how many networks
    are trained together (:func:`cmidd.compute.together.how_many_at_once`); ``graphs``: steps are replayed as CUDA
    graphs (:mod:`cmidd.compute.graphs`). The last two change no more than rounding, and are no part of the ``label``.
    """

    precision: Precision = "float32"
    compile: bool = False
    deterministic: bool = False
    at_once: Count | Literal["auto"] = 1
    graphs: bool = False

    @property
    def label(self) -> str:
        """As records name it: ``float32``, ``bf16, compiled``."""
        switches = {"compiled": self.compile, "deterministic": self.deterministic}
        return ", ".join([self.precision, *(name for name, on in switches.items() if on)])

    @property
    def arithmetic(self) -> str:
        """The label without ``compiled``, which only reorders sums: the keys of caches."""
        return replace(self, compile=False).label

    @property
    def channels_last(self) -> bool:
        """The memory layout in which compiled and bf16 convolutions are fastest."""
        return self.compile or self.precision == "bf16"


@dataclass(frozen=True)
class EngineSettings:
    """What a user asks for; ``auto`` is decided by :func:`choose`."""

    precision: Literal["auto", "float32", "tf32", "bf16"] = "auto"
    compile: bool | Literal["auto"] = "auto"
    deterministic: Annotated[bool, Field(strict=True)] = False
    at_once: Count | Literal["auto"] = "auto"
    graphs: Annotated[bool, Field(strict=True)] = False


def choose(settings: EngineSettings, device: torch.device, values: float) -> Engine:
    """The engine of a run, from its device and length.

    Args:
        values: how many image values (images x channels x height x width) pass through networks in the whole run.

    Raises:
        SettingError: when the device or this machine cannot do what is asked for.
    """
    precision, compiling = settings.precision, settings.compile
    if precision == "tf32" and not has_tf32(device):
        where = "a GPU before Ampere" if device.type == "cuda" else device
        raise SettingError(f"engine.precision=tf32: {where} has no TF32; use float32, bf16 or auto")
    if precision == "bf16" and not autocasts(device):
        raise SettingError("engine.precision=bf16: this macOS has no bfloat16 on mps, from 14 on it does; use float32")
    if settings.deterministic and device.type == "mps":
        raise SettingError("engine.deterministic=true: torch promises no same bits on mps; use device=cpu, or false")
    wanted = values > LONG_RUN_VALUES.get(device.type, math.inf) if compiling == "auto" else compiling
    lacks = _lacking(device) if wanted else None
    if lacks and compiling is True:
        raise SettingError(f"engine.compile=true: no {lacks} here; use auto or false")
    if lacks:
        log.warning("engine.compile=auto: no %s here, so this long run is not compiled and takes longer", lacks)
    compiling = wanted and not lacks
    if precision == "auto":
        precision = "tf32" if has_tf32(device) else "float32"
    if settings.graphs and device.type != "cuda":
        raise SettingError(f"engine.graphs=true: {device} has no CUDA graphs; give engine.graphs=false")
    if settings.deterministic and settings.at_once not in ("auto", 1):
        raise SettingError(
            f"engine.at_once={settings.at_once}: how sums are rounded depends on how many networks are left, which "
            "engine.deterministic=true is not for; give engine.at_once=1, or engine.deterministic=false"
        )
    at_once: Count | Literal["auto"] = settings.at_once
    if at_once == "auto" and (settings.deterministic or device.type != "cuda"):
        at_once = 1  # A CPU's cores are busy with one.
    deterministic = settings.deterministic and device.type == "cuda"
    if deterministic:
        log.info(
            "engine.deterministic=true: the same bits in every run on this GPU model and these versions, at the price "
            "of slower gradients; an operation that cannot be had so stops the run and is named"
        )
    return Engine(precision, compiling, deterministic, at_once, settings.graphs)


def fitted(engine: Engine, device: torch.device) -> Engine:
    """An engine that was chosen on another device, as ``device`` can be it: only the order of sums may change."""
    compiling, at_once = engine.compile, engine.at_once
    if compiling and (lacks := _lacking(device)):
        log.warning("begun compiled; no %s here, so it goes on uncompiled and takes longer", lacks)
        compiling = False
    if at_once == "auto" and device.type != "cuda":
        at_once = 1
    return replace(engine, compile=compiling, at_once=at_once, graphs=engine.graphs and device.type == "cuda")


def _lacking(device: torch.device) -> str | None:
    """What torch.compile lacks for ``device``."""
    return lacking_for_triton(device) or compilers.lacking(device.type)


_engine = Engine()


def current() -> Engine:
    """The engine in force."""
    return _engine


@contextlib.contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Compute as ``engine`` says until the end of the block.

    Raises:
        SettingError: when CUDA has no deterministic form of an operation, and the engine asks for it.
    """
    global _engine
    before, _engine = _engine, engine
    try:
        with _convolutions_in(engine.precision), _deterministic() if engine.deterministic else contextlib.nullcontext():
            yield
    finally:
        _engine = before


@contextlib.contextmanager
def _convolutions_in(precision: Precision) -> Iterator[None]:
    """Convolutions in TF32, but for ``float32``; all else in float32, whatever of torch's names it was set by before.

    Of convolutions only: distances of k-means in TF32 choose other images (26 of 200 at CIFAR10). Those of bf16 too,
    where it leaves them in float32 (second derivatives, features of MIM4DD): TF32 has three more bits than bf16.
    """
    backends: Any = torch.backends
    switches = (
        backends.cuda.matmul,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
        backends.cudnn.conv,
        backends.cudnn.rnn,
    )
    before = [switch.fp32_precision for switch in switches]
    products = _unless_newer(torch.get_float32_matmul_precision)
    convolutions = _unless_newer(lambda: backends.cudnn.allow_tf32)
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = precision != "float32"
    for switch in switches[2:] if precision == "float32" else switches[2:3]:
        switch.fp32_precision = "ieee"  # Else it would be as torch.backends.fp32_precision has it.
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products or "highest")
        backends.cudnn.allow_tf32 = bool(convolutions)
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value


def _unless_newer(read: Callable[[], T]) -> T | None:
    """What torch's older names say; None where the newer ones (``fp32_precision``) have set it, which they refuse."""
    try:
        return read()
    except RuntimeError:
        return None


@contextlib.contextmanager
def _deterministic() -> Iterator[None]:
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        reason = str(error).partition(", but you set")[0]
        raise SettingError(f"engine.deterministic=true: {reason} -- or set engine.deterministic=false") from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]


@contextlib.contextmanager
def in_any_order() -> Iterator[None]:
    """For what is the same in any order, a maximum, and is refused all the same by a deterministic torch."""
    before = torch.are_deterministic_algorithms_enabled()
    if before:
        torch.use_deterministic_algorithms(False)
    try:
        yield
    finally:
        if before:
            torch.use_deterministic_algorithms(True)
