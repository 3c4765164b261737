"""Distance of class means in a network's embedding space (DM, IDM)."""

import functools

import torch
from torch import Tensor

from cmidd.compute.passes import by_parts, embed
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
    """Mean of ``values`` ``[N, D]`` over the members of each class, ``[C, D]``."""
    sums = values.new_zeros(num_classes, values.shape[1]).index_add(0, labels, values)
    return sums / class_sizes(labels, num_classes)[:, None]
