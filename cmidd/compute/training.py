"""Training one network on labelled images: the one function behind evaluation, experts and teachers."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmidd.compute import passes
from cmidd.compute.losses import Mix, loss_of, refuse_unlabelled
from cmidd.compute.recipe import TrainingRecipe as TrainingRecipe
from cmidd.data.image_ops import cutmix, mixup
from cmidd.data.split import Split
from cmidd.utils import files, tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.progress import progress
from cmidd.utils.random_streams import Streams
from cmidd.utils.transfer import to_device

log = logging.getLogger(__name__)
KEPT_SECONDS = 60.0  # An epoch of the digits takes less than writing it.
TORCHS = {"momentum": "momentum_buffer"}  # Torch's names of what files call otherwise.

Teacher = Callable[[Tensor], Tensor]
"""Images in network input space ``[B, C, H, W]`` to logits ``[B, K]``, without gradient."""


class Training:
    """A network in training, which can be left after any epoch and gone on with to the same bits.

    Attributes:
        done: how many epochs (passes over the images) it has had.
    """

    def __init__(self, network: nn.Module, recipe: TrainingRecipe, *, teacher: Teacher | None = None) -> None:
        self.network, self.recipe, self.teacher, self.done = network, recipe, teacher, 0
        self.optimizer = recipe.new_optimizer(network)

    def state(self) -> dict[str, list[Tensor]]:
        """What the optimiser remembers of every parameter, by the names of :attr:`TrainingRecipe.remembered`."""
        states = [self.optimizer.state[parameter] for parameter in self.network.parameters()]
        return {name: [state[TORCHS.get(name, name)] for state in states] for name in self.recipe.remembered}

    def go_on(self, done: int, state: Mapping[str, Sequence[Tensor]]) -> None:
        """Be where another training of the network had this :meth:`state` after ``done`` epochs (one at least)."""
        self.done = done
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rates[done - 1]
        for name, values in state.items():
            for parameter, value in zip(self.network.parameters(), values, strict=True):
                device = value.device if name == "step" else parameter.device  # Adam counts on the CPU.
                self.optimizer.state[parameter][TORCHS.get(name, name)] = value.to(device, copy=True)

    def epochs(self, data: Split, streams: Streams, *, what: str | None) -> Iterator[int]:
        """Train to the end of the recipe; epoch e shuffles and augments by ``streams("train", e)``.

        Args:
            what: what the progress bar says; None for no bar.

        Yields:
            How many epochs are done, after each.

        Raises:
            SettingError: as :func:`train_step`.
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
            (order,) = to_device([torch.randperm(len(data), generator=generator)], data.labels.device)
            for chunk in order.split(self.recipe.batch):
                batch = data[chunk]
                logits = train_step(self.network, self.optimizer, batch, self.recipe, generator, teacher=self.teacher)
            if (
                self.recipe.cutmix == self.recipe.mixup == 0 and bar.looks()
            ):  # Mixed images have not these labels alone.
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
    optimizer: torch.optim.Optimizer | None = None,
    teacher: Teacher | None = None,
    after: Callable[[int], None] | None = None,
) -> torch.optim.Optimizer:
    """Train ``network`` in place, as :meth:`Training.epochs`; returns the optimiser.

    Args:
        optimizer: one that trained this network before, what it remembers is taken over.
        teacher: gives the labels where the recipe's targets are a teacher's.
        after: is called after each epoch with how many are done; it may test the network.
    """
    training = Training(network, recipe, teacher=teacher)
    if optimizer is not None:
        training.optimizer.state = optimizer.state
    for done in training.epochs(data, streams, what=what):
        if after is not None:
            after(done)
            network.train()
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
    after: Callable[[int], None] | None = None,
) -> None:
    """As :func:`train`, kept in ``keep`` after its epochs, and gone on with from there: the bits are the same.

    The file (parameters, buffers, what the optimiser remembers, epoch) is written every :data:`KEPT_SECONDS` at most,
    and stays: whoever has written the trained network to its place removes it.

    Args:
        made_by: what the training depends on.
        after: is called after each epoch with how many are done; what it changes in buffers of the network is kept too.

    Raises:
        SettingError: when what is kept is damaged, or of another training.
    """
    training, written = Training(network, recipe), Written()
    if keep.exists():
        tensors, about = tensor_files.read_tensors(keep)
        state = _taken_from(tensors, recipe.remembered)
        try:
            if about["made_by"] != files.as_json(made_by):
                raise ValueError("made by other settings")
            network.load_state_dict(tensors)
            training.go_on(about["epoch"], state)
        except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(f"{error}".split())[:300]
            raise SettingError(f"{keep}: not what this training goes on from ({reason}); remove it") from error
        log.info("%s goes on after epoch %d of %d", what, training.done, len(recipe.learning_rates))
    for done in training.epochs(data, streams, what=what):
        if after is not None:
            after(done)
        if done < len(recipe.learning_rates) and written.due():
            remembered = training.state().items()
            numbered = {f"{name}_{n:04d}": value for name, values in remembered for n, value in enumerate(values)}
            tensors = {**network.state_dict(), **numbered}
            if all(tensor.isfinite().all() for tensor in tensors.values()):
                tensor_files.write_tensors(keep, tensors, {"made_by": made_by, "epoch": done})


def _taken_from(tensors: dict[str, Tensor], names: Iterable[str]) -> dict[str, list[Tensor]]:
    """What the optimiser remembered, taken out of the tensors of a file."""
    found = {name: [key for key in sorted(tensors) if re.fullmatch(rf"{name}_\d{{4,}}", key)] for name in names}
    return {name: [tensors.pop(key) for key in keys] for name, keys in found.items()}


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
    *,
    teacher: Teacher | None = None,
) -> Tensor:
    """One step on a batch, augmented and mixed as the recipe says; returns the logits before the step.

    Raises:
        SettingError: when the recipe's loss needs soft labels and there are none.
    """
    refuse_unlabelled(recipe, batch.soft, is_taught=teacher is not None)
    images, mix = _mixed(recipe.augment.per_image(len(batch), generator)(batch.images), recipe, generator)
    targets = teacher(images) if teacher is not None and recipe.targets == "teacher" else batch.soft
    logits = passes.logits(network, images)
    loss = loss_of(recipe, logits, batch.labels, targets, mix)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return logits.detach()


def _mixed(images: Tensor, recipe: TrainingRecipe, generator: torch.Generator) -> tuple[Tensor, Mix | None]:
    """Images mixed as the recipe says, and how."""
    if recipe.cutmix > 0 and float(torch.rand((), generator=generator)) < recipe.cutmix:
        mixed, partner, share = cutmix(images, generator)
    elif recipe.mixup > 0:
        mixed, partner, share = mixup(images, recipe.mixup, generator)
    else:
        return images, None
    return mixed, Mix(partner, share)


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
    return passes.by_parts(lambda images: passes.logits(network, images).argmax(1), network, data)
