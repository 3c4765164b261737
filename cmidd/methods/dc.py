"""DC, gradient matching (Zhao et al., ICLR 2021)."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from cmidd.compute import passes
from cmidd.compute.backward import Backward
from cmidd.compute.gradients import DC_DISTANCES, class_gradients
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.training import train
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.data.augmentation import Augmentation
from cmidd.data.split import Split
from cmidd.networks import Network
from cmidd.utils.setting_types import Count, Fraction, Positive

NORM_IMAGES = 16  # real images of every class that batch norm measures (main.py:142)


class DC(Method):
    """The gradients of a network's loss on real and synthetic images of a class should agree, again and again
    while the network is trained on the synthetic set.

    An iteration takes a new network through ``outer_loop`` steps on the set; between two of them the network
    is trained on the set as ``net`` says. Batch norm matches at its running statistics, which it first takes a step of
    real images towards: an image or ten of a class give none.
    """

    unsteady = ("net.lr", "lr_img")

    def __init__(
        self,
        context: Context,
        *,
        lr_img: Positive,
        momentum: Fraction,
        batch_real: Count,
        distance: Literal["layerwise_cosine", "mse", "cos"],
        outer_loop: Count,
        augment: Augmentation,
        net: TrainingRecipe,
    ) -> None:
        self.context, self.augment, self.net = context, augment, net
        self.lr_img, self.momentum, self.batch_real = lr_img, momentum, batch_real
        self.distance, self.steps_per_iteration = DC_DISTANCES[distance], outer_loop
        self.backward = Backward(net)

    @classmethod
    def images_per_iteration(cls, num_classes: int, ipc: int, settings: Mapping[str, Any]) -> int:
        return settings["outer_loop"] * super().images_per_iteration(num_classes, ipc, settings)

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.context.synthetic.leaf], "lr": self.lr_img, "momentum": self.momentum}]

    def matches(self, iteration: int) -> Iterator[Match]:
        context, synthetic, streams = self.context, self.context.synthetic, self.context.streams
        num_classes = context.data.num_classes
        network = context.matching_network(streams("network", iteration))
        for step in range(self.steps_per_iteration):
            self._measure_norms(network, iteration, step)
            real = context.real_batch(self.batch_real, network, iteration, step)
            own, generator = Split(synthetic.images, synthetic.labels), streams("augment", iteration, step)
            real, augmented = self.augment.siamese(real, own, num_classes, generator)
            target = class_gradients(network, real, num_classes, create_graph=False)
            gradients = class_gradients(network, augmented, num_classes, create_graph=True)
            loss = self.distance(gradients, target)
            yield Match(loss, synthetic.images, synthetic.labels, network, real, augmented)
            if step + 1 < self.steps_per_iteration:
                own_streams = streams.child("net", iteration, step)
                train(network, synthetic.decode(), self.net, own_streams, what=None, backward=self.backward)

    @torch.no_grad()
    def _measure_norms(self, network: Network, *counters: int) -> None:
        norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
        if not norms:
            return
        network.train()
        real = self.context.data.class_batches(NORM_IMAGES, self.context.streams("norm", *counters))
        passes.embed(network, real.images)
        for norm in norms:
            norm.eval()
