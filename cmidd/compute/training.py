"""Training one network on labelled images: the one function behind evaluation, experts and teachers."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cmidd.compute import passes
from cmidd.data.augmentation import Augmentation
from cmidd.data.image_ops import cutmix
from cmidd.data.split import Split
from cmidd.utils import files, tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.progress import progress
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Count, Fraction, NonNegative, Positive

log = logging.getLogger(__name__)
KEPT_SECONDS = 60.0  # An epoch of the digits takes less than writing it.


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train: SGD on the mean cross-entropy of shuffled batches.

    Attributes:
        schedule: ``halfway`` is the loop of DC, DM, DSA, MTT and IDM: ``epochs + 1`` passes, the learning
            rate divided by ten after the pass with index ``epochs // 2 + 1``, where the optimiser is made anew
            and so forgets its momentum. ``late`` is IDC's: a fifth at 2/3, another at 5/6 of the epochs
            (methods.md section 5).
        cutmix: the probability that a batch is mixed by :func:`cmidd.data.image_ops.cutmix` (IDC).
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


class Training:
    """A network in training, which can be left after any epoch and gone on with to the same bits.

    Attributes:
        done: how many epochs (passes over the images) it has had.
    """

    def __init__(self, network: nn.Module, recipe: TrainingRecipe) -> None:
        self.network, self.recipe, self.done = network, recipe, 0
        self.optimizer = recipe.optimizer(network)

    def momenta(self) -> list[Tensor]:
        """What the optimiser remembers of every parameter; nothing where the recipe has no momentum."""
        states = (self.optimizer.state[parameter] for parameter in self.network.parameters())
        return [state["momentum_buffer"] for state in states if state.get("momentum_buffer") is not None]

    def go_on(self, done: int, momenta: Sequence[Tensor]) -> None:
        """Be where another training of the network had ``momenta`` after ``done`` epochs (one at least)."""
        self.done = done
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rates[done - 1]
        parameters = list(self.network.parameters())
        for parameter, momentum in zip(parameters, momenta, strict=True) if momenta else ():
            self.optimizer.state[parameter]["momentum_buffer"] = momentum.to(parameter.device, copy=True)

    def epochs(self, data: Split, streams: Streams, *, what: str | None) -> Iterator[int]:
        """Train to the end of the recipe; epoch e shuffles and augments by ``streams("train", e)``.

        Args:
            what: what the progress bar says; None for no bar.

        Yields:
            How many epochs are done, after each.
        """
        self.network.train()
        rates = self.recipe.learning_rates
        bar = progress(range(self.done, len(rates)), what, total=len(rates), initial=self.done, unit="epoch")
        for epoch in bar:
            for group in self.optimizer.param_groups:
                if group["lr"] != rates[epoch] and self.recipe.schedule == "halfway":
                    self.optimizer.state.clear()
                group["lr"] = rates[epoch]
            generator = streams("train", epoch)
            order = torch.randperm(len(data), generator=generator).to(data.labels.device)
            for chunk in order.split(self.recipe.batch):
                batch = data[chunk]
                logits = train_step(self.network, self.optimizer, batch, self.recipe, generator)
            if self.recipe.cutmix == 0 and bar.looks():  # Mixed images have not these labels alone.
                bar.say(loss=float(F.cross_entropy(logits, batch.labels)))
            self.done = epoch + 1
            yield self.done


def train(
    network: nn.Module,
    data: Split,
    recipe: TrainingRecipe,
    streams: Streams,
    *,
    what: str | None,
    optimizer: torch.optim.SGD | None = None,
) -> torch.optim.SGD:
    """Train ``network`` in place, as :meth:`Training.epochs`; returns the optimiser.

    Args:
        optimizer: one that trained this network before, whose momentum is taken over.
    """
    training = Training(network, recipe)
    if optimizer is not None:
        training.optimizer.state = optimizer.state
    for _ in training.epochs(data, streams, what=what):
        pass
    return training.optimizer


def train_kept(
    network: nn.Module,
    data: Split,
    recipe: TrainingRecipe,
    streams: Streams,
    *,
    what: str | None,
    keep: Path,
    made_by: Mapping[str, Any],
    after: Callable[[], None] | None = None,
) -> None:
    """As :func:`train`, kept in ``keep`` after its epochs, and gone on with from there: the bits are the same.

    The file (parameters, buffers, momenta, epoch) is written every :data:`KEPT_SECONDS` at most, and stays: whoever
    has written the trained network to its place removes it.

    Args:
        made_by: what the training depends on.
        after: called after every epoch; what it changes in buffers of the network is kept too.

    Raises:
        SettingError: when what is kept is damaged, or of another training.
    """
    training, written = Training(network, recipe), Written()
    if keep.exists():
        tensors, about = tensor_files.read_tensors(keep)
        momenta = [tensors.pop(name) for name in sorted(tensors) if name.startswith("momentum_")]
        try:
            if about["made_by"] != files.as_json(made_by):
                raise ValueError("made by other settings")
            network.load_state_dict(tensors)
            training.go_on(about["epoch"], momenta)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(f"{error}".split())[:300]
            raise SettingError(f"{keep}: not what this training goes on from ({reason}); remove it") from error
        log.info("%s goes on after epoch %d of %d", what, training.done, len(recipe.learning_rates))
    for done in training.epochs(data, streams, what=what):
        if after is not None:
            after()
        if done < len(recipe.learning_rates) and written.due():
            momenta = training.momenta()
            tensors = {**network.state_dict(), **{f"momentum_{n:04d}": value for n, value in enumerate(momenta)}}
            if all(tensor.isfinite().all() for tensor in tensors.values()):
                tensor_files.write_tensors(keep, tensors, {"made_by": made_by, "epoch": done})


class Written:
    """When to write what is unfinished: :data:`KEPT_SECONDS` after the last time."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time; if so, counts as written."""
        if time.monotonic() - self.at < KEPT_SECONDS:
            return False
        self.at = time.monotonic()
        return True


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


def accuracy(network: nn.Module, data: Split) -> float:
    """Share of ``data`` that ``network`` classifies correctly, in per cent."""
    return share_right(predictions(network, data), data.labels)


def share_right(predicted: Tensor, labels: Tensor) -> float:
    """Share of predictions ``[N]`` that are the labels ``[N]``, in per cent."""
    return 100 * float((predicted == labels).sum()) / len(labels)


@torch.no_grad()
def predictions(network: nn.Module, data: Split) -> Tensor:
    """The class ``[N]`` that ``network`` gives each image."""
    network.eval()
    parts = data.parts(passes.chunk_size(data))
    return torch.cat([passes.logits(network, part.images).argmax(1) for part in parts])
