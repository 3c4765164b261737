"""A regulariser in the manner of MIM4DD (Shang et al., arXiv 2312.16627): our own reading, for no source is public.

What the abstract says: maximise a lower bound of the mutual information between synthetic and real data, layer by
layer, by a contrastive loss in which images of the same label are positives. Everything beyond that sentence is ours:
no learned projection, every layer alike, the temperature and the weight. It costs one forward of
``batch_real`` real images per class and one forward and input gradient of the set in the matching network, and means
something at one image per class, since the positives are real images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from cmidd.compute.embeddings import class_means
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.regularizer import Regularizer
from cmidd.core.teachers import Teachers
from cmidd.data.known_labels import num_classes_of
from cmidd.utils.setting_types import Count, Positive


class MIM4DD(Regularizer):
    """The regulariser.

    It draws real images of its own and augments nothing: a method's siamese augmentation differs from class to
    class, and telling the classes apart by their augmentation would be the easiest way to a small loss.

    Args:
        temperature: of the similarities.
        batch_real: real images per class: the positives of one class, and negatives of all others.
    """

    name = "mim4dd"
    needs = frozenset({"network"})

    def __init__(self, context: Context, teachers: Teachers, *, temperature: Positive, batch_real: Count) -> None:
        self.data, self.temperature, self.batch_real = context.data, temperature, batch_real

    def __call__(self, match: Match, generator: torch.Generator) -> Tensor:
        """The contrastive loss, mean over layers, per class ``[C]``."""
        network = match.network
        assert network is not None
        real = self.data.class_batches(self.batch_real, generator)
        with torch.no_grad():
            real_layers = network.layers(real.images)
        layers = network.layers(match.images)
        losses = [
            label_nce(ours.flatten(1), match.labels, theirs.flatten(1), real.labels, self.temperature)
            for ours, theirs in zip(layers, real_layers, strict=True)
        ]
        return torch.stack(losses).mean(0)


def label_nce(synthetic: Tensor, labels: Tensor, real: Tensor, real_labels: Tensor, temperature: float) -> Tensor:
    """``-log`` of the share of an image's similarity that its own class has, mean over the images of a class ``[C]``.

    With cosines of synthetic features ``[N, D]`` and real ones ``[M, D]``, the share is
    ``sum_{j: y_j = y_i} exp(s_ij / temperature) / sum_j exp(s_ij / temperature)``.
    """
    similarity = F.normalize(synthetic, dim=1) @ F.normalize(real, dim=1).T / temperature
    other = labels[:, None] != real_labels[None]
    own_share = similarity.log_softmax(1).masked_fill(other, -torch.inf).logsumexp(1)
    return class_means(-own_share, labels, num_classes_of(real_labels))
