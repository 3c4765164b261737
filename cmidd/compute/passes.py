"""The passes through a network: embeddings, logits, gradients and products of second derivatives, each here once.

All that takes time is one of these; they are computed as the :class:`cmidd.compute.engine.Engine` in force says, and
where there are many images a part at a time.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._functorch import config as functorch
from torch.func import functional_call, grad, jvp, vmap
from torch.utils.checkpoint import checkpoint

from cmidd.compute import compiling
from cmidd.compute.engine import current
from cmidd.data.split import Split
from cmidd.networks import Network

MOST_SHAPES = (
    4  # that a pass is compiled for one by one: a batch, the last of an epoch, a part of the test set, a class
)
CHUNK_VALUES = 2_000_000  # image values (650 images of 3x32x32) whose activations are kept at once
IGNORED = -100  # the label that cross_entropy leaves out
F_ = TypeVar("F_", bound=Callable[..., Any])


def _as_the_engine_says(function: F_, half: bool = True) -> F_:
    """Compile a function of networks and tensors, and autocast it (unless ``half`` is false), as the engine says."""

    @functools.cache
    def compiled(dynamic: bool | None) -> Callable[..., Any]:
        # Terms that are balanced need gradients of one graph more than once, which donated buffers do not survive.
        functorch.donated_buffer = False
        compiling.watch()
        return torch.compile(function, dynamic=dynamic)  # Once it is wanted: this call alone imports for two seconds.

    shapes: set[tuple[torch.Size, ...]] = set()

    def compiled_for(*arguments: Any) -> Any:
        """Compiled for these shapes, and for any from where :data:`MOST_SHAPES` came."""
        own = tuple(a.shape for a in arguments if isinstance(a, Tensor))
        if own in shapes or len(shapes) < MOST_SHAPES:
            shapes.add(own)
            return compiled(False)(*arguments)
        return compiled(None)(*arguments)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        engine = current()
        device = next(a.device for a in arguments if isinstance(a, Tensor))
        if not engine.channels_last and device.type != "mps":
            return function(*arguments)
        # On mps gradients of pooling and batch norm are wrong in the other layout (torch's issues 175189, 175190).
        layout = torch.contiguous_format if device.type == "mps" else torch.channels_last
        arguments = tuple(
            a.contiguous(memory_format=layout) if isinstance(a, Tensor) and a.dim() == 4 else a for a in arguments
        )
        # Without its cache: that would outlive the steps of the parameters it was made from.
        enabled = half and engine.precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled, cache_enabled=False):
            return (compiled_for if engine.compile else function)(*arguments)

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


@_as_the_engine_says
def gradients_of_classes(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """For each of C classes the gradient of the mean cross-entropy of its images, ``[C, *shape]`` for every parameter.

    One pass for images ``[C, n, channels, H, W]`` with labels ``[C, n]``; differentiable once in the images, also
    compiled, for the gradients inside are no backward pass of autograd's. No layer may mix images.
    """

    def loss(parameters: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(_full(functional_call(network, parameters, (images,))), labels)

    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return tuple(vmap(grad(loss), in_dims=(None, 0, 0))(parameters, images, labels).values())


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
    return derivative, d_theta, torch.cat(d_images)[: len(images)]


def _parts(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Images and labels in parts of about the same size, with each one's share; of the same where they are compiled."""
    if current().compile:
        size = min(len(images), part_size(images))
        for some, own in zip(images.split(size), labels.split(size), strict=True):
            ignored = own.new_full((size - len(own),), IGNORED)
            yield _filled(some, size), torch.cat([own, ignored]), len(own) / len(labels)
        return
    count = math.ceil(len(images) / chunk_size(images))
    for some, own in zip(images.tensor_split(count), labels.tensor_split(count), strict=True):
        yield some, own, len(own) / len(labels)


def _along(
    network: nn.Module, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`along` at once. Without compilation a backward of a backward pass is faster."""
    leaves = (theta.detach().requires_grad_(), images.detach().requires_grad_())
    with torch.enable_grad():
        if current().compile:
            derivative = directional_loss(network, leaves[0], direction, leaves[1], labels)
        else:
            loss = F.cross_entropy(logits_at(network, leaves[0], leaves[1]), labels)
            (gradient,) = torch.autograd.grad(loss, leaves[0], create_graph=True)
            derivative = gradient @ direction
        d_theta, d_images = torch.autograd.grad(derivative, leaves)
    return derivative.detach(), d_theta, d_images


def chunk_size(images: Tensor | Split) -> int:
    """How many of ``images`` pass a network at a time."""
    return max(1, CHUNK_VALUES // math.prod(images.shape[1:]))


def part_size(images: Tensor | Split) -> int:
    """How many of ``images`` pass a network at a time: as :func:`chunk_size`, in equal parts where they are compiled,
    for every size is compiled by itself. Where no number of parts fits, the last one lacks less than one of each.
    """
    count, most = len(images), chunk_size(images)
    if not current().compile or count <= most:
        return most
    fewest = math.ceil(count / most)
    fitting = (parts for parts in range(fewest, fewest + 2 + fewest // 4) if count % parts == 0)
    return math.ceil(count / next(fitting, fewest))


def by_parts(one_pass: Callable[[Tensor], Tensor], network: nn.Module, images: Tensor | Split) -> Tensor:
    """What a pass through ``network`` gives for images ``[N, ...]``, a part at a time."""
    size = part_size(images)
    parts = images.split(size) if isinstance(images, Tensor) else (part.images for part in images.parts(size))
    mixing = network.training and any(True for _ in network.buffers())
    if not current().compile or mixing or len(images) <= size:
        return torch.cat([one_pass(part) for part in parts])
    return torch.cat([one_pass(_filled(part, size)) for part in parts])[: len(images)]


def _filled(part: Tensor, size: int) -> Tensor:
    """The last of several parts with its first image again, until it is as large as the others."""
    return torch.cat([part, part[:1].expand(size - len(part), *part.shape[1:])]) if len(part) < size else part


def embed_in_chunks(network: Network, images: Tensor) -> Tensor:
    """:func:`embed`, keeping the activations of a part of the images at a time, computed once more for the gradient."""
    if len(images) <= chunk_size(images):
        return embed(network, images)

    def recomputed(some: Tensor) -> Tensor:
        embedded: Tensor = checkpoint(embed, network, some, use_reentrant=False)
        return embedded

    return by_parts(recomputed, network, images)


def flat_call(network: nn.Module, theta: Tensor, images: Tensor) -> Tensor:
    """Apply ``network`` with the flat parameters ``theta`` ``[P]`` in definition order."""
    named = list(network.named_parameters())
    parts = theta.split([parameter.numel() for _, parameter in named])
    views = {name: part.view_as(parameter) for (name, parameter), part in zip(named, parts, strict=True)}
    result: Tensor = functional_call(network, views, (images,))
    return result


def _full(values: Tensor) -> Tensor:
    return values.float() if values.dtype == torch.bfloat16 else values
