"""CMI, the class-aware conditional mutual information of a synthetic set (ICLR 2025, eq. 5 to 7).

Adds ``weight * CMI(S)`` to any method's loss: the synthetic images of a class draw together in the
feature space of a pre-trained network. It costs one teacher forward and input gradient of the set per step,
and is identically zero at one image per class, unless that image is decoded into several or the centroids
are those of real images.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from cmidd.compute.embeddings import Embedder, embed_real
from cmidd.compute.engine import in_any_order
from cmidd.compute.passes import part_size
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.regularizer import Regularizer
from cmidd.core.teachers import Teachers
from cmidd.data.known_labels import groups
from cmidd.data.split import Split
from cmidd.networks import Network


def conditional_mutual_information(features: Tensor, labels: Tensor, log_centroids: Tensor | None = None) -> Tensor:
    """Mean over images of ``KL(P_s || Q_y)``, natural log, with gradient through both (eq. 5 and 6).

    ``P_s`` is the softmax over the features ``[N, M]`` of an image, ``Q_y`` its mean over the images of
    class ``y``. With equally many images per class this is the mean over classes of H(Q_y) - mean H(P_s).
    Computed in logarithms throughout, so large features neither overflow nor give log 0; labels ``[N]``
    need not cover every class. Given ``log_centroids`` ``[C, M]``, these stand for ``log Q_y``.
    """
    log_p = features.log_softmax(1)
    if log_centroids is not None:
        return (log_p.exp() * (log_p - log_centroids[labels])).sum(1).mean()
    group, count = groups(labels)
    index = group[:, None].expand_as(log_p)
    # log Q_y = logsumexp over the class of log P_s, minus log n_y.
    empty = log_p.new_full((len(count), log_p.shape[1]), -torch.inf)
    with in_any_order():
        peak = empty.scatter_reduce(0, index, log_p.detach(), "amax")
    total = torch.zeros_like(peak).index_add(0, group, (log_p - peak[group]).exp())
    log_q = peak + total.log() - count[:, None].to(log_p.dtype).log()
    return (log_p.exp() * (log_p - log_q[group])).sum(1).mean()


class CMI(Regularizer):
    """The regulariser: draws one teacher per step and measures the images that the match hands over.

    Args:
        centroids: ``real`` replaces the class centroids of the synthetic set by those of the real images, computed
            once per teacher (the alternative that the reference has in a comment).
        input: what its teachers see: the images as networks do, or as pixels in [0, 1].
    """

    name = "cmi"
    per_class_images = 2
    taught = True

    def __init__(
        self,
        context: Context,
        teachers: Teachers,
        *,
        centroids: Literal["synthetic", "real"] = "synthetic",
        input: Literal["preprocessed", "pixels"] = "preprocessed",
    ) -> None:
        self.teachers = teachers()
        self.real = context.data.train if centroids == "real" else None
        self.seen = context.data.preprocessing.inverse if input == "pixels" else _as_they_are
        self.embedder = Embedder()
        self._log_centroids: dict[Network, Tensor] = {}

    @classmethod
    def images_needed(cls, settings: Mapping[str, Any]) -> int:
        return 1 if settings.get("centroids") == "real" else cls.per_class_images

    def __call__(self, match: Match, generator: torch.Generator) -> Tensor:
        """CMI of the match's images in nats, a scalar."""
        teacher = self.teachers.draw(generator)
        if self.real is not None and teacher not in self._log_centroids:
            self._log_centroids[teacher] = class_log_centroids(teacher, self.real, self.seen)
        features = self.embedder.synthetic(teacher, self.seen(match.images))
        return conditional_mutual_information(features, match.labels, self._log_centroids.get(teacher))


def _as_they_are(images: Tensor) -> Tensor:
    return images


@torch.no_grad()
def class_log_centroids(teacher: Network, real: Split, seen: Callable[[Tensor], Tensor] = _as_they_are) -> Tensor:
    """``log Q_y`` ``[C, M]``: the logarithm of the mean softmax over the features of each class's images."""
    parts = real.parts(part_size(real))  # A whole data set at once would be a second one in memory.
    log_p = torch.cat([embed_real(teacher, seen(part.images)) for part in parts]).log_softmax(1)
    members = [log_p[real.labels == label] for label in range(int(real.labels.max()) + 1)]
    return torch.stack([own.logsumexp(0) - math.log(len(own)) for own in members])
