"""How networks are computed: precision, compilation and memory layout, one switch for the process.

All that takes time here is one of four passes through a network; each is in this file once, and is computed as the
:class:`Engine` in force says. Outside :func:`using` that is float32, not compiled: what the golden figures are checked
against. ``bf16`` and ``tf32`` change the numbers (README: what that does to accuracies); compilation reorders sums.
"""

import contextlib
import functools
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.utils.checkpoint import checkpoint

from cmidd.errors import SettingError
from cmidd.networks import Network

log = logging.getLogger(__name__)
Precision = Literal["float32", "tf32", "bf16"]
# Compiling costs about a minute; it pays where plain passes would take ten (images' values per second on two cores).
LONG_RUN_VALUES = 1.2e9
CHUNK_VALUES = 2_000_000  # image values (650 images of 3x32x32) whose activations are kept at once

F_ = TypeVar("F_", bound=Callable[..., Any])


@dataclass(frozen=True)
class Engine:
    """``precision`` of convolutions and matrix products; ``compile``: one fused kernel for what lies between;
    ``deterministic``: CUDA adds up in the same order every time, as the CPU does anyway.
    """

    precision: Precision = "float32"
    compile: bool = False
    deterministic: bool = False

    @property
    def label(self) -> str:
        """As records and the keys of caches name it: ``float32``, ``bf16, compiled``."""
        switches = {"compiled": self.compile, "deterministic": self.deterministic}
        return ", ".join([self.precision, *(name for name, on in switches.items() if on)])

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


def prepare(settings: EngineSettings) -> None:
    """Settle what must be before CUDA multiplies its first matrices (torch.use_deterministic_algorithms)."""
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def choose(settings: EngineSettings, device: torch.device, values: float) -> Engine:
    """The engine of a run, from its device and length.

    Args:
        values: how many image values (images x channels x height x width) pass through networks in the whole run.

    Raises:
        SettingError: when the device or this machine cannot do what is asked for.
    """
    precision, compiling = settings.precision, settings.compile
    if precision == "tf32" and device.type != "cuda":
        raise SettingError(f"engine.precision=tf32: {device} has no TF32; use float32, bf16 or auto")
    compiler = device.type == "cuda" or shutil.which("g++") or shutil.which("clang++")
    if compiling is True and not compiler:
        raise SettingError("engine.compile=true: no C++ compiler here (apt-get install g++); use auto or false")
    if compiling == "auto":
        compiling = bool(compiler) and values > LONG_RUN_VALUES
    if precision == "auto":
        precision = "tf32" if device.type == "cuda" else "float32"
    deterministic = settings.deterministic and device.type == "cuda"
    if deterministic:
        log.info(
            "engine.deterministic=true: the same bits in every run on this GPU model and these versions, at the price "
            "of slower gradients; an operation that cannot be had so stops the run and is named"
        )
    return Engine(precision, compiling, deterministic)


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
    before = _engine, torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    _engine = engine
    torch.set_float32_matmul_precision("high" if engine.precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = engine.precision == "tf32"
    try:
        with _deterministic() if engine.deterministic else contextlib.nullcontext():
            yield
    finally:
        _engine = before[0]
        torch.set_float32_matmul_precision(before[1])
        torch.backends.cudnn.allow_tf32 = before[2]


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


def _as_the_engine_says(function: F_, half: bool = True) -> F_:
    """Compile a function of networks and tensors, and autocast it (unless ``half`` is false), as the engine says."""
    compiled = torch.compile(function)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        engine = _engine
        if not engine.channels_last:
            return function(*arguments)
        arguments = tuple(
            a.contiguous(memory_format=torch.channels_last) if isinstance(a, Tensor) and a.dim() == 4 else a
            for a in arguments
        )
        device = next(a.device for a in arguments if isinstance(a, Tensor))
        # Without its cache: that would outlive the steps of the parameters it was made from.
        enabled = half and engine.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False):
            return (compiled if engine.compile else function)(*arguments)

    return call  # type: ignore[return-value]


@_as_the_engine_says
def embed(network: Network, images: Tensor) -> Tensor:
    """Embeddings ``[N, D]`` of images ``[N, C, H, W]``, at least float32; differentiable once."""
    return _full(network.embed(images))


@_as_the_engine_says
def logits(network: nn.Module, images: Tensor) -> Tensor:
    """Logits ``[N, classes]``, at least float32; differentiable once."""
    return _full(network(images))


@_as_the_engine_says
def logits_at(network: nn.Module, theta: Tensor, images: Tensor) -> Tensor:
    """:func:`logits` at the flat parameters ``theta`` ``[P]`` (in definition order); differentiable once."""
    return _full(flat_call(network, theta, images))


@functools.partial(_as_the_engine_says, half=False)  # Autocast and forward derivatives do not go together.
def directional_loss(network: nn.Module, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Derivative of the mean cross-entropy at the flat parameters ``theta`` along ``direction`` (both ``[P]``).

    This scalar is ``<gradient in theta, direction>``. It is computed forward, beside the loss, so that its own
    gradient, the product of second derivatives with ``direction``, takes one ordinary backward pass that can be
    compiled, which the backward of a backward pass cannot. At least float32, also where the engine says bf16.
    """

    def loss(theta: Tensor) -> Tensor:
        return F.cross_entropy(_full(flat_call(network, theta, images)), labels)

    derivative: Tensor = jvp(loss, (theta,), (direction,))[1]
    return derivative


def gradient_at(network: nn.Module, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Gradient ``[P]`` of the mean cross-entropy at the flat parameters ``theta``, a part of the images at a time."""
    total = torch.zeros_like(theta)
    for some, own, share in _parts(images, labels):
        with torch.enable_grad():
            leaf = theta.detach().requires_grad_()
            loss = F.cross_entropy(logits_at(network, leaf, some), own)
        total += share * torch.autograd.grad(loss, leaf)[0]
    return total


def along(
    network: nn.Module, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`directional_loss` with its gradients in ``theta`` ``[P]`` and in ``images``: ``<g, direction>`` and the
    second derivatives of the loss times ``direction``, a part of the images at a time.
    """
    derivative, d_theta, d_images = theta.new_zeros(()), torch.zeros_like(theta), []
    for some, own, share in _parts(images, labels):
        of_part = _along(network, theta, direction, some, own)
        derivative += share * of_part[0]
        d_theta += share * of_part[1]
        d_images.append(share * of_part[2])
    return derivative, d_theta, torch.cat(d_images)


def _parts(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Images and labels in parts of about the same size, with each one's share."""
    count = math.ceil(len(images) / chunk_size(images))
    for some, own in zip(images.tensor_split(count), labels.tensor_split(count), strict=True):
        yield some, own, len(own) / len(labels)


def _along(
    network: nn.Module, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`along` at once. Without compilation a backward of a backward pass is faster."""
    leaves = (theta.detach().requires_grad_(), images.detach().requires_grad_())
    with torch.enable_grad():
        if _engine.compile:
            derivative = directional_loss(network, leaves[0], direction, leaves[1], labels)
        else:
            loss = F.cross_entropy(logits_at(network, leaves[0], leaves[1]), labels)
            (gradient,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
            derivative = gradient @ direction
        d_theta, d_images = torch.autograd.grad(derivative, leaves)
    return derivative.detach(), d_theta, d_images


def chunk_size(images: Tensor) -> int:
    """How many of ``images`` pass a network at a time."""
    return max(1, CHUNK_VALUES // images[0].numel())


def embed_in_chunks(network: Network, images: Tensor) -> Tensor:
    """:func:`embed`, keeping the activations of a part of the images at a time, computed once more for the gradient."""
    chunk = chunk_size(images)
    if len(images) <= chunk:
        return embed(network, images)
    parts = [checkpoint(embed, network, some, use_reentrant=False) for some in images.split(chunk)]
    return torch.cat(parts)


def flat_call(network: nn.Module, theta: Tensor, images: Tensor) -> Tensor:
    """Apply ``network`` with the flat parameters ``theta`` ``[P]`` in definition order."""
    named = list(network.named_parameters())
    parts = theta.split([parameter.numel() for _, parameter in named])
    views = {name: part.view_as(parameter) for (name, parameter), part in zip(named, parts, strict=True)}
    result: Tensor = functional_call(network, views, (images,))
    return result


def _full(values: Tensor) -> Tensor:
    return values.float() if values.dtype == torch.bfloat16 else values
