"""Embeddings in networks, as they are or in CUDA graphs, and the distance of their class means (DM, IDM, CMI)."""

import copy
import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cmidd.compute.graphs import Graphed, graphed
from cmidd.compute.passes import by_parts, embed, embed_in_chunks, mixes_images, part_size
from cmidd.data.known_labels import class_sizes, num_classes_of
from cmidd.data.split import Split
from cmidd.networks import Network


@torch.no_grad()
def embed_real(network: Network, images: Tensor | Split) -> Tensor:
    """Embeddings ``[N, D]`` without a graph, a part at a time: IDM takes whole classes at one image per class, DREAM
    the training set.
    """
    return by_parts(functools.partial(embed, network), network, images)


def mean_embedding_distance(real: Tensor, real_labels: Tensor, synthetic: Tensor, labels: Tensor) -> Tensor:
    """Squared L2 distance of the class means of embeddings ``[N, D]``, per class ``[C]``."""
    num_classes = num_classes_of(real_labels)
    return (class_means(real, real_labels, num_classes) - class_means(synthetic, labels, num_classes)).square().sum(1)


def class_means(values: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean of ``values`` ``[N, ...]`` over the members of each class, ``[C, ...]``."""
    sums = values.new_zeros(num_classes, *values.shape[1:]).index_add(0, labels, values)
    return sums / class_sizes(labels, num_classes).view(-1, *[1] * (values.dim() - 1))


class Embedder:
    """Embeddings in networks of one structure, one after another, replayed as CUDA graphs where the engine says so.

    The graphs compute in a network of their own, filled with the numbers of whichever is asked for. Networks whose
    buffers a pass changes, in training, are computed without, and all images at once: their batch norm takes mean and
    deviation from the images of a pass, and those of a few classes would lose what tells these apart
    (DatasetCondensation/main_DM.py:173-197).
    """

    def __init__(self) -> None:
        self._own: Network | None = None

    def real(self, network: Network, images: Tensor) -> Tensor:
        """:func:`embed_real`."""
        if mixes_images(network):
            with torch.no_grad():
                return embed(network, images)
        if not self._fill(network, images.device):
            return embed_real(network, images)
        return self._of_real(images)[0].clone()

    def synthetic(self, network: Network, images: Tensor) -> Tensor:
        """:func:`cmidd.compute.passes.embed_in_chunks`; its gradient is asked for before those of another network."""
        if mixes_images(network):
            return embed(network, images)
        if not self._fill(network, images.device):
            return embed_in_chunks(network, images)
        embedded: Tensor = _Replayed.apply(images, self._of_own, self._gradient)
        return embedded

    def _fill(self, network: Network, device: torch.device) -> bool:
        """Whether graphs are to be replayed, which then compute in ``network``."""
        buffers = list(network.buffers())
        if not graphed(device):
            return False
        if self._own is None:
            self._own = copy.deepcopy(network)
            self._of_real = Graphed(functools.partial(_embedded, self._own))
            self._of_own = Graphed(functools.partial(_embedded, self._own))
            self._gradient = Graphed(functools.partial(_gradient, self._own))
        with torch.no_grad():
            torch._foreach_copy_(list(self._own.parameters()), list(network.parameters()))
            if buffers:
                torch._foreach_copy_(list(self._own.buffers()), buffers)
        return True


def _embedded(network: Network, images: Tensor) -> tuple[Tensor]:
    return (embed_real(network, images),)


def _gradient(network: Network, images: Tensor, gradient: Tensor) -> tuple[Tensor]:
    """The gradient in the images, of which ``gradient`` is that in their embeddings, a part at a time."""
    parts = []
    for some, own in zip(images.split(size := part_size(images)), gradient.split(size), strict=True):
        with torch.enable_grad():
            leaf = some.detach().requires_grad_()
            parts += torch.autograd.grad(embed(network, leaf), leaf, own)
    return (torch.cat(parts),)


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, embedded: Graphed, gradient: Graphed) -> Tensor:
        ctx.save_for_backward(images)
        ctx.gradient = gradient
        return embedded(images)[0].clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, of_embedded: Tensor) -> tuple[Tensor, None, None]:
        return ctx.gradient(*ctx.saved_tensors, of_embedded)[0].clone(), None, None
