"""IDC, information-intensive condensation (Kim et al., ICML 2022)."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from cmidd.compute.backward import Backward
from cmidd.compute.gradients import IDC_DISTANCES, class_gradients, convolutions
from cmidd.compute.recipe import TrainingRecipe, refuse_passes
from cmidd.compute.training import train_step
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.data.augmentation import Augmentation
from cmidd.data.known_labels import host_labels, place
from cmidd.data.split import Split
from cmidd.networks import Network
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Count, Fraction, Positive
from cmidd.utils.transfer import to_device


class IDC(Method):
    """Match the gradients of the convolution weights on decoded images while a network is trained on real data.

    The reference steps class after class on one tensor with momentum. One joint step of size
    ``lr_img / (1 - momentum)`` without momentum is the same but for what the last classes' momentum still
    has to give at the end.

    Args:
        lr_img: for 10 images per class of ``base_side`` pixels a side; scaled with the number of images
            per class and of pixels.
        distance: between gradients, summed over weights.
        batch_syn_max: at most so many decoded images of a class in a step.
        net_images: how many real images the network is trained on after each of ``inner_loop`` steps; at most all once.
    """

    teacher_input = "pixels"  # CMIDD/IDC/condense.py:584: its images are normalised only after augmentation.
    decodes = True
    unsteady = ("net.lr", "lr_img")

    def __init__(
        self,
        context: Context,
        *,
        lr_img: Positive,
        base_side: Count,
        momentum: Fraction,
        batch_real: Count,
        batch_syn_max: Count,
        distance: Literal["mse", "l1", "cos"],
        inner_loop: Count,
        net_images: Count,
        augment: Augmentation,
        net: TrainingRecipe,
    ) -> None:
        data = context.data
        ipc = len(context.synthetic.leaf) / data.num_classes
        scaled = lr_img * (ipc / 10) * (data.image_shape[1] / base_side) ** 2
        self.lr = scaled / (1 - momentum)
        self.context, self.augment, self.net = context, augment, net
        self.batch_real, self.batch_syn_max, self.distance = batch_real, batch_syn_max, IDC_DISTANCES[distance]
        # An epoch of the source ends where the images do (train.py:189, 251).
        self.steps_per_iteration, self.net_steps = inner_loop, -(-min(net_images, len(data.train)) // net.batch)
        self.backward = Backward(net)
        self._at_most_labels: Tensor | None = None

    @classmethod
    def refuse(cls, settings: Mapping[str, Any], network: Network) -> None:
        refuse_passes(settings["net"], "method.net")
        if all(parameter.dim() != 4 for parameter in network.parameters()):
            raise SettingError("network: IDC matches the gradients of convolutions, and this one has none; use another")

    @classmethod
    def images_per_iteration(cls, num_classes: int, ipc: int, settings: Mapping[str, Any]) -> int:
        return settings["inner_loop"] * super().images_per_iteration(num_classes, ipc, settings)

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.context.synthetic.leaf], "lr": self.lr, "momentum": 0.0}]

    def matches(self, iteration: int) -> Iterator[Match]:
        context, streams, num_classes = self.context, self.context.streams, self.context.data.num_classes
        network = context.matching_network(streams("network", iteration))
        optimizer = self.net.new_optimizer(network)
        context.synthetic.clamp_pixels()
        for step in range(self.steps_per_iteration):
            number = iteration * self.steps_per_iteration + step
            decoded = self._at_most(context.synthetic.training_images(), streams("subsample", number))
            real = context.real_batch(self.batch_real, network, iteration, step, cycle=number)
            real, augmented = self.augment.siamese(real, decoded, num_classes, streams("augment", number))
            target = class_gradients(network, real, num_classes, create_graph=False)
            gradients = class_gradients(network, augmented, num_classes, create_graph=True)
            loss = self.distance(convolutions(gradients), convolutions(target))
            yield Match(loss, decoded.images, decoded.labels, network, real, augmented, scale=num_classes, draw=step)
            for net_step in range(self.net_steps):
                batch = context.data.cycled_batch(self.net.batch, number * self.net_steps + net_step, streams)
                generator = streams("net", number, net_step)
                train_step(network, optimizer, batch, self.net, generator, backward=self.backward)

    def _at_most(self, decoded: Split, generator: torch.Generator) -> Split:
        """A random choice of ``batch_syn_max`` images of every class that has more."""
        labels, device = host_labels(decoded.labels), decoded.labels.device
        chosen = []
        for label in range(self.context.data.num_classes):
            members = (labels == label).nonzero().flatten()
            if len(members) > self.batch_syn_max:
                members = members[torch.randperm(len(members), generator=generator)[: self.batch_syn_max]]
            chosen.append(members)
        indices = torch.cat(chosen)
        if len(indices) == len(labels):
            return decoded
        if self._at_most_labels is None or not torch.equal(host_labels(self._at_most_labels), labels[indices]):
            self._at_most_labels = place(labels[indices], device)
        return Split(decoded.images[to_device([indices], device)[0]], self._at_most_labels)
