"""Training one network on labelled images: the one function behind evaluation, experts and teachers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cmidd import passes
from cmidd.augment import Augmentation, cutmix
from cmidd.errors import SettingError
from cmidd.progress import progress
from cmidd.sources import Split
from cmidd.streams import Streams

Count = Annotated[int, Field(strict=True, gt=0, le=10**9)]
# Strict: true is no number.
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(strict=True, ge=0, lt=1)]


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train: SGD on the mean cross-entropy of shuffled batches.

    Attributes:
        schedule: ``halfway`` is the loop of DC, DM, DSA, MTT and IDM: ``epochs + 1`` passes, the learning
            rate divided by ten after the pass with index ``epochs // 2 + 1``, where the optimiser is made anew
            and so forgets its momentum. ``late`` is IDC's: a fifth at 2/3, another at 5/6 of the epochs
            (methods.md section 5).
        cutmix: the probability that a batch is mixed by :func:`cmidd.augment.cutmix` (IDC).
    """

    epochs: Count = 1
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 5e-4
    batch: Count = 256
    schedule: Literal["constant", "halfway", "late"] = "constant"
    augment: Augmentation = field(default_factory=lambda: Augmentation("none"))
    cutmix: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.0

    @property
    def learning_rates(self) -> list[float]:
        """One learning rate for each pass over the images."""
        if self.schedule == "constant":
            return [self.lr] * self.epochs
        if self.schedule == "late":
            steps = (2 * self.epochs // 3, 5 * self.epochs // 6)
            return [self.lr * 0.2 ** sum(epoch >= step for step in steps) for epoch in range(self.epochs)]
        first = self.epochs // 2 + 2
        return [self.lr] * first + [0.1 * self.lr] * (self.epochs + 1 - first)

    def optimizer(self, network: nn.Module) -> torch.optim.SGD:
        """A new optimiser for the network's parameters."""
        return torch.optim.SGD(network.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)


def train(
    network: nn.Module,
    data: Split,
    recipe: TrainingRecipe,
    streams: Streams,
    *,
    what: str | None,
    after_epoch: Callable[[], None] | None = None,
    optimizer: torch.optim.SGD | None = None,
) -> torch.optim.SGD:
    """Train ``network`` in place; pass p shuffles and augments by ``streams("train", p)``. Returns the optimiser.

    Args:
        what: what the progress bar says; None for no bar.
        after_epoch: called after every pass, e.g. to record a trajectory.
        optimizer: one that trained this network before, whose momentum is taken over.
    """
    network.train()
    before, optimizer = optimizer, recipe.optimizer(network)
    if before is not None:
        optimizer.state = before.state
    for epoch, lr in enumerate(progress(recipe.learning_rates, what)):
        for group in optimizer.param_groups:
            if group["lr"] != lr and recipe.schedule == "halfway":
                optimizer.state.clear()
            group["lr"] = lr
        generator = streams("train", epoch)
        order = torch.randperm(len(data), generator=generator).to(data.labels.device)
        for chunk in order.split(recipe.batch):
            train_step(network, optimizer, data[chunk], recipe, generator)
        if after_epoch is not None:
            after_epoch()
    return optimizer


def refuse_diverged(parameters: Iterable[Tensor], setting: str, what: str) -> None:
    """Keep a network whose training went wrong from being stored.

    Raises:
        SettingError: naming ``setting`` when a parameter is not finite.
    """
    if not all(parameter.isfinite().all() for parameter in parameters):
        raise SettingError(f"{setting}: {what} ended in parameters that are not finite; choose a smaller value")


def train_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Split,
    recipe: TrainingRecipe,
    generator: torch.Generator,
) -> Tensor:
    """One step on a batch, augmented and mixed as the recipe says; returns the logits before the step."""
    images, labels = recipe.augment.per_image(len(batch), generator)(batch.images), batch.labels
    if recipe.cutmix > 0 and float(torch.rand((), generator=generator)) < recipe.cutmix:
        images, partner, share = cutmix(images, generator)
        logits = passes.logits(network, images)
        loss = share * F.cross_entropy(logits, labels) + (1 - share) * F.cross_entropy(logits, labels[partner])
    else:
        logits = passes.logits(network, images)
        loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return logits.detach()


@torch.no_grad()
def accuracy(network: nn.Module, data: Split) -> float:
    """Share of ``data`` that ``network`` classifies correctly, in per cent."""
    network.eval()
    chunk = passes.chunk_size(data.images)
    pairs = zip(data.images.split(chunk), data.labels.split(chunk), strict=True)
    correct = sum((passes.logits(network, images).argmax(1) == labels).sum() for images, labels in pairs)
    return 100 * float(correct) / len(data)
