"""The passes through a network: embeddings, logits, gradients and products of second derivatives, each here once.

All that takes time is one of these; they are computed as the :class:`cmidd.compute.engine.Engine` in force says, and
where there are many images a part at a time.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.utils.checkpoint import checkpoint

from cmidd.compute.engine import current
from cmidd.compute.engine_passes import as_the_engine_says
from cmidd.data.split import Split
from cmidd.networks import Network

CHUNK_VALUES = 2_000_000  # image values (650 images of 3x32x32) whose activations are kept at once
IGNORED = -100  # the label that cross_entropy leaves out


@as_the_engine_says
def embed(network: Network, images: Tensor) -> Tensor:
    """Embeddings ``[N, D]`` of images ``[N, C, H, W]``, at least float32; differentiable once."""
    return _full(network.embed(images))


@as_the_engine_says
def logits(network: nn.Module, images: Tensor) -> Tensor:
    """Logits ``[N, classes]``, at least float32; differentiable once."""
    return _full(network(images))


@as_the_engine_says
def logits_at(network: nn.Module, theta: Tensor, images: Tensor) -> Tensor:
    """:func:`logits` at the flat parameters ``theta`` ``[P]`` (in definition order); differentiable once."""
    return _full(flat_call(network, theta, images))


@functools.partial(as_the_engine_says, forward=True)
def directional_loss(network: nn.Module, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Derivative of the mean :func:`cross_entropy` at the flat parameters ``theta`` along ``direction`` (both ``[P]``).

    This scalar is ``<gradient in theta, direction>``. It is computed forward, beside the loss, so that its own
    gradient, the product of second derivatives with ``direction``, takes one ordinary backward pass that can be
    compiled, which the backward of a backward pass cannot. At least float32, also where the engine says bf16.
    """

    def loss(theta: Tensor) -> Tensor:
        return cross_entropy(_full(flat_call(network, theta, images)), labels)

    derivative: Tensor = jvp(loss, (theta,), (direction,))[1]
    return derivative


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy with hard labels ``[N]``, or with soft ones, the softmax of logits ``[N, C]``."""
    return F.cross_entropy(logits, labels.softmax(1) if labels.is_floating_point() else labels)


@as_the_engine_says
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
    """Gradient ``[P]`` of the mean :func:`cross_entropy` at the flat parameters ``theta``, a part of the images at a
    time.
    """
    total = torch.zeros_like(theta)
    for some, own, share in _parts(images, labels):
        with torch.enable_grad():
            leaf = theta.detach().requires_grad_()
            loss = cross_entropy(logits_at(network, leaf, some), own)
        total += share * torch.autograd.grad(loss, leaf)[0]
    return total


class Along(NamedTuple):
    """:func:`directional_loss` and its gradients in the parameters ``[P]``, the images, and the labels if soft."""

    derivative: Tensor
    theta: Tensor
    images: Tensor
    labels: Tensor | None


def along(network: nn.Module, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> Along:
    """``<g, direction>``, with g the gradient in ``theta``, and the second derivatives of the loss times ``direction``,
    a part of the images at a time.
    """
    derivative, d_theta, d_images, d_labels = theta.new_zeros(()), torch.zeros_like(theta), [], []
    for some, own, share in _parts(images, labels):
        of_part, d_part, *others = _along(network, theta, direction, some, own, in_theta=True)
        derivative += share * of_part
        d_theta += share * others[0]
        d_images.append(share * d_part)
        d_labels += [share * each for each in others[1:]]
    return Along(derivative, d_theta, torch.cat(d_images)[: len(images)], torch.cat(d_labels) if d_labels else None)


def along_in_images(network: nn.Module, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient in the images ``[N, C, H, W]`` of :func:`along` alone: a quarter less to do, if compiled."""
    parts = [
        share * _along(network, theta, direction, some, own, in_theta=False)[1]
        for some, own, share in _parts(images, labels)
    ]
    return torch.cat(parts)[: len(images)]


def _parts(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Images and labels in parts of about the same size, with each one's share; of the same where they are compiled and
    labels are hard.
    """
    if current().compile and not labels.is_floating_point():
        size = min(len(images), part_size(images))
        for some, own in zip(images.split(size), labels.split(size), strict=True):
            ignored = own.new_full((size - len(own),), IGNORED)
            yield _filled(some, size), torch.cat([own, ignored]), len(own) / len(labels)
        return
    count = math.ceil(len(images) / chunk_size(images))
    for some, own in zip(images.tensor_split(count), labels.tensor_split(count), strict=True):
        yield some, own, len(own) / len(labels)


def _along(
    network: nn.Module, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor, *, in_theta: bool
) -> tuple[Tensor, ...]:
    """The derivative, its gradient in the images and, if asked for, in ``theta`` and in soft labels, at once. Without
    compilation a backward of a backward pass is faster.
    """
    # A compiled backward pass computes the gradient of all that requires one, asked for or not.
    theta = theta.detach().requires_grad_(in_theta or not current().compile)
    images = images.detach().requires_grad_()
    leaves = [images, theta] if in_theta else [images]
    if in_theta and labels.is_floating_point():
        labels = labels.detach().requires_grad_()
        leaves.append(labels)
    with torch.enable_grad():
        if current().compile:
            derivative = directional_loss(network, theta, direction, images, labels)
        else:
            loss = cross_entropy(logits_at(network, theta, images), labels)
            (gradient,) = torch.autograd.grad(loss, theta, create_graph=True)
            derivative = gradient @ direction
        gradients = torch.autograd.grad(derivative, leaves)
    return derivative.detach(), *gradients


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
    if not current().compile or mixes_images(network) or len(images) <= size:
        return torch.cat([one_pass(part) for part in parts])
    return torch.cat([one_pass(_filled(part, size)) for part in parts])[: len(images)]


def mixes_images(network: nn.Module) -> bool:
    """Whether what a pass gives for an image depends on the others: of networks with batch norm that is in training."""
    return any(module.training and any(True for _ in module.buffers(recurse=False)) for module in network.modules())


def _filled(part: Tensor, size: int) -> Tensor:
    """The last of several parts with its first image again, until it is as large as the others."""
    return torch.cat([part, part[:1].expand(size - len(part), *part.shape[1:])]) if len(part) < size else part


def embed_in_chunks(network: Network, images: Tensor) -> Tensor:
    """:func:`embed`, keeping the activations of a part of the images at a time, computed once more for the gradient."""
    return _in_chunks(embed, network, images)


def logits_in_chunks(network: Network, images: Tensor) -> Tensor:
    """:func:`logits`, likewise."""
    return _in_chunks(logits, network, images)


def _in_chunks(compute: Callable[[Network, Tensor], Tensor], network: Network, images: Tensor) -> Tensor:
    if len(images) <= chunk_size(images):
        return compute(network, images)

    def recomputed(some: Tensor) -> Tensor:
        computed: Tensor = checkpoint(compute, network, some, use_reentrant=False)
        return computed

    return by_parts(recomputed, network, images)


def flat_call(network: nn.Module, theta: Tensor, images: Tensor) -> Tensor:
    """Apply ``network`` with the flat parameters ``theta`` ``[P]`` in definition order."""
    result: Tensor = functional_call(network, in_shapes(theta, network), (images,))
    return result


def in_shapes(theta: Tensor, network: nn.Module) -> dict[str, Tensor]:
    """Views of the flat parameters ``theta`` ``[P]`` by the names and in the shapes of the network's own."""
    named = list(network.named_parameters())
    parts = theta.split([parameter.numel() for _, parameter in named])
    return {name: part.view_as(parameter) for (name, parameter), part in zip(named, parts, strict=True)}


def _full(values: Tensor) -> Tensor:
    return values.float() if values.dtype == torch.bfloat16 else values
