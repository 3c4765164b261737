"""Training one network on labelled images: the one function behind evaluation, experts and teachers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from cmidd.augment import Augmentation
from cmidd.progress import progress
from cmidd.sources import Split
from cmidd.streams import Streams

Count = Annotated[int, Field(strict=True, gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train: SGD on the mean cross-entropy of shuffled batches.

    ``schedule="halfway"`` is the loop of DC, DM, DSA, MTT and IDM: ``epochs + 1`` passes, the learning
    rate divided by ten after the pass with index ``epochs // 2 + 1``, where the optimiser is made anew
    and so forgets its momentum (methods.md section 5).
    """

    epochs: Count
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5e-4
    batch: Count = 256
    schedule: Literal["constant", "halfway"] = "constant"
    augment: Augmentation = field(default_factory=lambda: Augmentation("none"))

    @property
    def learning_rates(self) -> list[float]:
        """One learning rate for each pass over the images."""
        if self.schedule == "constant":
            return [self.lr] * self.epochs
        first = self.epochs // 2 + 2
        return [self.lr] * first + [0.1 * self.lr] * (self.epochs + 1 - first)


def train(
    network: nn.Module,
    data: Split,
    recipe: TrainingRecipe,
    streams: Streams,
    *,
    what: str,
    after_epoch: Callable[[], None] | None = None,
) -> None:
    """Train ``network`` in place; pass p shuffles and augments by ``streams("train", p)``.

    Args:
        what: what the progress bar says.
        after_epoch: called after every pass, e.g. to record a trajectory.
    """
    network.train()
    lr_before = None
    for epoch, lr in enumerate(progress(recipe.learning_rates, what)):
        if lr != lr_before:
            optimizer = torch.optim.SGD(
                network.parameters(), lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
            )
            lr_before = lr
        generator = streams("train", epoch)
        order = torch.randperm(len(data), generator=generator).to(data.labels.device)
        for chunk in order.split(recipe.batch):
            images = recipe.augment.per_image(len(chunk), generator)(data.images[chunk])
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(network(images), data.labels[chunk]).backward()
            optimizer.step()
        if after_epoch is not None:
            after_epoch()


@torch.no_grad()
def accuracy(network: nn.Module, data: Split, batch: int = 1024) -> float:
    """Share of ``data`` that ``network`` classifies correctly, in per cent."""
    network.eval()
    pairs = zip(data.images.split(batch), data.labels.split(batch), strict=True)
    correct = sum((network(images).argmax(1) == labels).sum() for images, labels in pairs)
    return 100 * float(correct) / len(data)
