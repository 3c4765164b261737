"""Gradients of a network's loss, class by class, and the distances between them (DC, DSA, IDC)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from cmidd.compute import engine, passes
from cmidd.data.known_labels import class_members
from cmidd.data.split import Split

EPS = 1e-6  # of the cosine distances, in all references
ONE_PASS_VALUES = 3_500_000  # image values (1,139 of 3x32x32: 4.8 GiB, with their graph 5.6) of a GPU's pass at most
GRAPH_VALUES = 6_000_000  # those of which a CPU keeps the graph
Gradients = Sequence[Tensor]
"""One tensor ``[C, *shape]`` for every parameter that is matched: the gradient of each class's loss."""


def class_gradients(network: nn.Module, data: Split, num_classes: int, *, create_graph: bool) -> Gradients:
    """For every class the gradient of the mean cross-entropy of its images.

    Where all classes have equally many images, as they nearly always have, a GPU takes them in one pass, or as many at
    a time as it has room for (DC's real batch at CIFAR10: 11 GiB at once): exact, because no layer of these networks
    mixes images (batch norm in training does, and goes class by class).

    Args:
        data: images ``[N, C, H, W]`` with labels ``[N]`` in any order; every class must be there.
        create_graph: make the result differentiable in the images.
    """
    members = class_members(data.labels, num_classes)
    mixing, on_gpu = passes.mixes_images(network), data.images.is_cuda
    compiled = engine.current().compile and not on_gpu
    large = data.images.numel() > (ONE_PASS_VALUES if on_gpu else GRAPH_VALUES)
    if create_graph and not mixing and (compiled or large):
        return RecomputedGradients.apply(data.images, network, data.labels, members)  # type: ignore[no-untyped-call]
    if on_gpu and not mixing and len({len(indices) for indices in members}) == 1:
        return gradients_in_one_pass(network, data, torch.stack(members), create_graph=create_graph)
    return gradients_one_by_one(network, data, members, create_graph=create_graph)


def gradients_one_by_one(
    network: nn.Module, data: Split, members: Sequence[Tensor], *, create_graph: bool
) -> list[Tensor]:
    """:func:`class_gradients` with one pass per class; ``members`` are the indices of each class's images.

    On a CPU this is faster than one pass: gradients of weights per class become grouped convolutions there.
    """
    parameters = list(network.parameters())
    per_class = []
    for indices in members:
        loss = F.cross_entropy(passes.logits(network, data.images[indices]), data.labels[indices])
        per_class.append(torch.autograd.grad(loss, parameters, create_graph=create_graph))
    return [torch.stack(same) for same in zip(*per_class, strict=True)]


class RecomputedGradients(torch.autograd.Function):
    """:func:`gradients_one_by_one`, differentiable in the images without keeping its graph.

    The backward pass goes through the classes once more (:func:`cmidd.compute.passes.along_in_images`), so memory holds
    one class at a time, and all passes can be compiled.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, network: nn.Module, labels: Tensor, members: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        ctx.network, ctx.labels, ctx.members = network, labels, members
        ctx.save_for_backward(images)
        with torch.enable_grad():
            data = Split(images.detach(), labels)
            if images.is_cuda:
                return tuple(class_gradients(network, data, len(members), create_graph=False))
            return tuple(gradients_one_by_one(network, data, members, create_graph=False))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None, None, None]:
        (images,) = ctx.saved_tensors
        theta = parameters_to_vector(ctx.network.parameters()).detach()
        grad_images = torch.zeros_like(images)
        for label, indices in enumerate(ctx.members):
            direction = torch.cat([gradient[label].flatten() for gradient in grad_outputs])
            d_images = passes.along_in_images(ctx.network, theta, direction, images[indices], ctx.labels[indices])
            grad_images.index_copy_(0, indices, d_images)
        return grad_images, None, None, None


def gradients_in_one_pass(network: nn.Module, data: Split, members: Tensor, *, create_graph: bool) -> list[Tensor]:
    """:func:`class_gradients` of as many classes at once as :data:`ONE_PASS_VALUES` allows; ``members`` ``[C, n]``.

    With ``create_graph`` all passes are kept: :class:`RecomputedGradients` is for more than one.
    """
    count, values = len(members), members[0].numel() * data.images[0].numel()
    most = max(1, min(count, ONE_PASS_VALUES // values))
    together = next(size for size in range(most, 0, -1) if count % size == 0)  # Equal parts: one shape to compile.
    with torch.set_grad_enabled(create_graph):
        parts = [
            passes.gradients_of_classes(network, data.images[some], data.labels[some])
            for some in members.split(together)
        ]
        return [torch.cat(same) for same in zip(*parts, strict=True)]


def layerwise_cosine(first: Gradients, second: Gradients) -> Tensor:
    """DC's distance, per class ``[C]``: 1 - cosine of every row of every weight, summed; biases and norms count 0."""
    pairs = zip(first, second, strict=True)
    return torch.stack([_row_cosines(a, b).sum(1) for a, b in pairs if a.dim() > 2]).sum(0)


def squared(first: Gradients, second: Gradients) -> Tensor:
    """Sum of squared differences over all parameters, per class ``[C]``."""
    return torch.stack([(a - b).square().flatten(1).sum(1) for a, b in zip(first, second, strict=True)]).sum(0)


def cosine(first: Gradients, second: Gradients) -> Tensor:
    """1 - cosine of all parameters as one vector, per class ``[C]``."""
    a, b = (torch.cat([gradient.flatten(1) for gradient in side], 1) for side in (first, second))
    return _row_cosines(a[:, None], b[:, None]).sum(1)


def absolute(first: Gradients, second: Gradients) -> Tensor:
    """Sum of absolute differences, per class ``[C]``."""
    return torch.stack([(a - b).abs().flatten(1).sum(1) for a, b in zip(first, second, strict=True)]).sum(0)


# What DC and DSA match with, and what IDC does.
DC_DISTANCES: dict[str, Callable[[Gradients, Gradients], Tensor]] = {
    "layerwise_cosine": layerwise_cosine,
    "mse": squared,
    "cos": cosine,
}
IDC_DISTANCES: dict[str, Callable[[Gradients, Gradients], Tensor]] = {
    "mse": squared,
    "l1": absolute,
    "cos": layerwise_cosine,
}


def convolutions(gradients: Gradients) -> list[Tensor]:
    """What IDC matches: the gradients of convolution weights alone."""
    return [gradient for gradient in gradients if gradient.dim() == 5]


def _row_cosines(a: Tensor, b: Tensor) -> Tensor:
    """1 - cosine of the rows of ``[C, rows, ...]``."""
    a, b = a.flatten(2), b.flatten(2)
    norms = torch.linalg.vector_norm(a, dim=2) * torch.linalg.vector_norm(b, dim=2)
    return 1 - (a * b).sum(2) / (norms + EPS)
