"""IID, exploiting inter-sample and inter-feature relations (Deng et al., CVPR 2024).

Adds two terms per class: in the matching network, the covariance of the synthetic images' feature maps should be
that of the real ones; in a pre-trained network, the synthetic images should lie close to their mean. It
costs one teacher forward and input gradient of the set per step, and the matching network's embeddings only where
the method has not made them. Both terms are identically zero at one training image per class.

Sources: IID/DM+ours/main_DM_IID.py:225-247, IDM+ours/IDM_cifar10_IID.py:360-383; its teachers: DM+ours/pre_model.py.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cmidd.compute.embeddings import class_means
from cmidd.compute.passes import embed_in_chunks
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.regularizer import Regularizer
from cmidd.core.teachers import Teachers
from cmidd.data.known_labels import class_members, num_classes_of
from cmidd.utils.setting_types import NonNegative


class IID(Regularizer):
    """The regulariser.

    Args:
        covariance: weight of the covariance matching.
        centralization: weight of the class centralisation; it sums over images, so it grows with their number.
        teacher_weight_decay: of its teachers, which are otherwise trained as CMI's are.
    """

    name = "iid"
    needs = frozenset({"network", "real"})
    per_class_images = 2
    taught = True

    def __init__(
        self,
        context: Context,
        teachers: Teachers,
        *,
        covariance: NonNegative,
        centralization: NonNegative,
        teacher_weight_decay: NonNegative,
    ) -> None:
        self.covariance, self.centralization = covariance, centralization
        self.teachers = teachers(weight_decay=teacher_weight_decay)

    @classmethod
    def teacher_changes(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {"weight_decay": settings["teacher_weight_decay"]}

    def __call__(self, match: Match, generator: torch.Generator) -> Tensor:
        """``covariance * CM + centralization * CC`` per class ``[C]``, on the augmented images."""
        network, real, synthetic = match.network, match.real, match.synthetic
        assert network is not None and real is not None and synthetic is not None
        real_maps, maps = (network.as_map(embedded) for embedded in match.embeddings)
        matching = covariance_distance(real_maps, real.labels, maps, synthetic.labels)
        features = embed_in_chunks(self.teachers.draw(generator), synthetic.images)
        return self.covariance * matching + self.centralization * class_scatter(features, synthetic.labels)


def covariance_distance(real: Tensor, real_labels: Tensor, synthetic: Tensor, labels: Tensor) -> Tensor:
    """Squared Frobenius distance of the local covariances of feature maps ``[N, D, L]``, per class ``[C]``."""
    return (local_covariances(real, real_labels) - local_covariances(synthetic, labels)).square().sum((1, 2))


def local_covariances(maps: Tensor, labels: Tensor) -> Tensor:
    """For each class the mean over its images of the sum over locations of ``X X^T``, ``[C, D, D]``.

    ``X`` ``[D, L]`` is an image's map less the class's mean map. The reference divides neither by the number of
    locations nor by B - 1: its weights belong to this scale.
    """
    centred = maps - class_means(maps, labels, num_classes_of(labels))[labels]
    covariances = []
    for members in class_members(labels, num_classes_of(labels)):
        columns = centred[members].transpose(0, 1).flatten(1)  # [D, B * L]
        covariances.append(columns @ columns.T / len(members))
    return torch.stack(covariances)


def class_scatter(features: Tensor, labels: Tensor) -> Tensor:
    """Sum over a class's images of the squared distance of their features ``[N, M]`` to its mean, ``[C]``."""
    means = class_means(features, labels, num_classes_of(labels))
    distances = (features - means[labels]).square().sum(1)
    return distances.new_zeros(len(means)).index_add(0, labels, distances)
