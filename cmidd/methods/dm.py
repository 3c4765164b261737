"""DM, distribution matching (Zhao & Bilen, WACV 2023)."""

from collections.abc import Iterator
from typing import Any

from cmidd.compute.embeddings import Embedder, mean_embedding_distance
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.data.augmentation import Augmentation
from cmidd.data.split import Split
from cmidd.utils.setting_types import Count, Fraction, Positive


class DM(Method):
    """Match the mean embedding of every class in a fresh random network, all classes in one pass."""

    def __init__(
        self, context: Context, *, lr_img: Positive, momentum: Fraction, batch_real: Count, augment: Augmentation
    ) -> None:
        self.context, self.augment, self.batch_real = context, augment, batch_real
        self.lr_img, self.momentum = lr_img, momentum
        self.embedder = Embedder()

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.context.synthetic.leaf], "lr": self.lr_img, "momentum": self.momentum}]

    def matches(self, iteration: int) -> Iterator[Match]:
        context, synthetic = self.context, self.context.synthetic
        network = context.matching_network(context.streams("network", iteration)).requires_grad_(False)
        real, own = context.real_batch(self.batch_real, network, iteration), Split(synthetic.images, synthetic.labels)
        generator = context.streams("augment", iteration)
        real, augmented = self.augment.siamese(real, own, context.data.num_classes, generator)
        target = self.embedder.real(network, real.images)
        embedded = self.embedder.synthetic(network, augmented.images)
        loss = mean_embedding_distance(target, real.labels, embedded, augmented.labels)
        yield Match(loss, synthetic.images, synthetic.labels, network, real, augmented, (target, embedded))
