"""Training one network on labelled images: the one function behind evaluation, experts and teachers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmidd.compute import passes
from cmidd.compute.backward import Backward
from cmidd.compute.gsam import GSAM
from cmidd.compute.losses import Mix, refuse_unlabelled
from cmidd.compute.optimizer_state import remembered, restore
from cmidd.compute.recipe import TrainingRecipe, with_hard_labels
from cmidd.data.image_ops import cutmix, mixup
from cmidd.data.split import Split
from cmidd.utils.errors import SettingError
from cmidd.utils.progress import progress
from cmidd.utils.random_streams import Streams
from cmidd.utils.transfer import to_device

Teacher = Callable[[Tensor], Tensor]
"""Images in network input space ``[B, C, H, W]`` to logits ``[B, K]``, without gradient."""


class Training:
    """A network in training, which can be left after any epoch and gone on with to the same bits.

    :class:`cmidd.compute.together.TogetherTraining` trains several at once, hence the sequences; here they are of one.

    Args:
        module: has the parameters that are trained; the network itself, if not given.

    Attributes:
        done: how many epochs (passes over the images) it has had.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        recipe: TrainingRecipe,
        *,
        teacher: Teacher | None = None,
        backward: Backward | None = None,
        module: nn.Module | None = None,
    ) -> None:
        self.networks, self.recipe, self.teacher, self.done = networks, recipe, teacher, 0
        self.module, self.backward = module or networks[0], backward or Backward(recipe)
        self.optimizer = recipe.new_optimizer(self.module)

    def states(self) -> list[dict[str, list[Tensor]]]:
        """What the optimiser remembers of every parameter of each network, by the names of
        :attr:`TrainingRecipe.remembered`.
        """
        states = [remembered(self.optimizer, parameter) for parameter in self.module.parameters()]
        return [{name: [state[name] for state in states] for name in self.recipe.remembered}]

    def go_on(self, done: int, states: Sequence[Mapping[str, Sequence[Tensor]]]) -> None:
        """Be where another training of the networks had these :meth:`states` after ``done`` epochs (one at least)."""
        self.done = done
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rates[done - 1]
        for name, values in states[0].items():
            for parameter, value in zip(self.module.parameters(), values, strict=True):
                restore(self.optimizer, parameter, {name: value})

    def epochs(self, data: Split, streams: Sequence[Streams], *, what: str | None) -> Iterator[int]:
        """Train to the end of the recipe; epoch e shuffles and augments by ``("train", e)`` of a network's streams.

        Args:
            what: what the progress bar says; None for no bar.

        Yields:
            How many epochs are done, after each.

        Raises:
            SettingError: as :func:`train_step`.
        """
        self.module.train()
        rates = self.recipe.learning_rates
        bar = progress(range(self.done, len(rates)), what, total=len(rates), initial=self.done, unit="epoch")
        for epoch in bar:
            if self.recipe.hard_epochs and epoch >= len(rates) - self.recipe.hard_epochs:
                self.recipe = with_hard_labels(self.recipe)
                self.backward = Backward(self.recipe, self.backward.loss)
            for group in self.optimizer.param_groups:
                if group["lr"] != rates[epoch] and self.recipe.schedule == "halfway":
                    self.optimizer.state.clear()
                group["lr"] = rates[epoch]
            logits, labels = self._pass_over(data, [own("train", epoch) for own in streams])
            if (
                self.recipe.cutmix == self.recipe.mixup == 0 and bar.looks()
            ):  # Mixed images have not these labels alone.
                bar.say(loss=float(F.cross_entropy(logits, labels)))
            self.done = epoch + 1
            yield self.done

    def _pass_over(self, data: Split, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """Train on all images once; returns logits and labels of the last batch."""
        (generator,) = generators
        (order,) = to_device([torch.randperm(len(data), generator=generator)], data.labels.device)
        for chunk in order.split(self.recipe.batch):
            batch = data[chunk]
            logits = train_step(
                self.module,
                self.optimizer,
                batch,
                self.recipe,
                generator,
                teacher=self.teacher,
                backward=self.backward,
            )
        return logits, batch.labels


def train(
    network: nn.Module,
    data: Split,
    recipe: TrainingRecipe,
    streams: Streams,
    *,
    what: str | None,
    optimizer: torch.optim.Optimizer | None = None,
    teacher: Teacher | None = None,
    backward: Backward | None = None,
    after: Callable[[int], None] | None = None,
) -> torch.optim.Optimizer:
    """Train ``network`` in place, as :meth:`Training.epochs`; returns the optimiser.

    Args:
        optimizer: one that trained this network before, what it remembers is taken over.
        teacher: gives the labels where the recipe's targets are a teacher's.
        backward: that of the networks of this structure and recipe that the caller trains.
        after: is called after each epoch with how many are done; it may test the network.
    """
    training = Training([network], recipe, teacher=teacher, backward=backward)
    return train_with(training, data, [streams], what=what, optimizer=optimizer, after=after)


def train_with(
    training: Training,
    data: Split,
    streams: Sequence[Streams],
    *,
    what: str | None,
    optimizer: torch.optim.Optimizer | None = None,
    after: Callable[[int], None] | None = None,
) -> torch.optim.Optimizer:
    """As :func:`train`, of a training that was not begun."""
    if optimizer is not None:
        own, theirs = (each.param_groups[0]["params"] for each in (training.optimizer, optimizer))
        training.optimizer.state.update((one, optimizer.state[other]) for one, other in zip(own, theirs, strict=True))
    for done in training.epochs(data, streams, what=what):
        if after is not None:
            after(done)
            training.module.train()
    return training.optimizer


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
    backward: Backward | None = None,
) -> Tensor:
    """One step on a batch, augmented and mixed as the recipe says; returns the logits before the step.

    Args:
        backward: that of the networks of this structure and recipe that the caller trains.

    Raises:
        SettingError: when the recipe's loss needs soft labels and there are none.
    """
    refuse_unlabelled(recipe, batch.soft, is_taught=teacher is not None)
    images, mix = mixed(recipe.augment.per_image(len(batch), generator)(batch.images), recipe, generator)
    targets = teacher(images) if teacher is not None and recipe.targets == "teacher" else batch.soft
    gradient = backward or Backward(recipe)

    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        return gradient(network, images, batch.labels, targets, mix)

    if isinstance(optimizer, GSAM):  # It asks for the gradient at two points.
        at_first: Tensor = optimizer.step(closure)
        return at_first
    logits = closure()
    optimizer.step()
    return logits


def mixed(images: Tensor, recipe: TrainingRecipe, generator: torch.Generator) -> tuple[Tensor, Mix | None]:
    """Images ``[N, C, H, W]`` mixed as the recipe says, and how."""
    if recipe.cutmix > 0 and float(torch.rand((), generator=generator)) < recipe.cutmix:
        images, partner, share = cutmix(images, generator)
    elif recipe.mixup > 0:
        images, partner, share = mixup(images, recipe.mixup, generator)
    else:
        return images, None
    return images, Mix(partner, share)


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
