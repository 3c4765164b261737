"""Recipes of training: what a network is trained on, by which optimiser, at which learning rates."""

import math
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn

from cmidd.compute.earlier import EARLIER
from cmidd.compute.gsam import GSAM
from cmidd.data.augmentation import Augmentation
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import without_values
from cmidd.utils.setting_types import Count, Fraction, NonNegative, Positive

Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Targets = Literal["set", "teacher", "corrected"]
WITH_TEMPERATURE = ("soft", "kl")


@dataclass(frozen=True)
class TrainingRecipe:
    """How to train: an optimiser on the mean loss of shuffled batches.

    Attributes:
        momentum: of SGD; with Adam and AdamW the decay of the mean gradient (their first beta).
        schedule: ``halfway`` is the loop of DC, DM, DSA, MTT and IDM: ``epochs + 1`` passes, the learning
            rate divided by ten after the pass with index ``epochs // 2 + 1``, where the optimiser is made anew
            and so forgets its momentum. ``late`` is IDC's: a fifth at 2/3, another at 5/6 of the
            epochs. ``cosine`` goes down to zero, ``half_cosine`` is the half of it that ends at half the rate (RDED),
            ``fifths`` halves it at each fifth of the epochs (NCFM).
        cutmix: the probability that a batch is mixed by :func:`cmidd.data.image_ops.cutmix` (IDC).
        mixup: alpha of the Beta distribution by which batches that CutMix left are mixed as a whole
            (:func:`cmidd.data.image_ops.mixup`); 0: none are.
        loss: ``hard`` is the cross-entropy with the labels; the others are those of :mod:`cmidd.compute.losses` with
            soft labels, at a ``temperature``, and ``hard_share`` times the cross-entropy with the labels beside.
        targets: whose soft labels: the ``set``'s own; those of a ``teacher``, asked for every batch as the network
            sees it, augmented and mixed (RDED, SRe2L); or ``corrected`` ones of a teacher, of the images as they are
            (:func:`cmidd.compute.losses.corrected`; NCFM).
        hard_epochs: of a loss with soft labels the last epochs, which have the labels alone.
        rho, alpha: of GSAM, which has neither momentum nor decay (:class:`cmidd.compute.gsam.GSAM`).
    """

    epochs: Count = 1
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 5e-4
    batch: Count = 256
    schedule: Literal["constant", "halfway", "late", "cosine", "half_cosine", "fifths"] = "constant"
    augment: Augmentation = field(default_factory=lambda: Augmentation("none"))
    cutmix: Share = 0.0
    mixup: NonNegative = 0.0
    loss: Literal["hard", "soft", "kl", "mse"] = "hard"
    temperature: Positive = 1.0
    hard_share: NonNegative = 0.0
    targets: Targets = "set"
    hard_epochs: Annotated[int, Field(strict=True, ge=0)] = 0
    optimizer: Literal["sgd", "adam", "adamw", "gsam"] = "sgd"
    rho: Positive = 0.01
    alpha: NonNegative = 0.3

    @property
    def taught(self) -> bool:
        """Whether a teacher gives the labels."""
        return self.loss != "hard" and self.targets != "set"

    @property
    def learning_rates(self) -> list[float]:
        """One learning rate for each pass over the images."""
        epochs = self.epochs
        if self.schedule == "halfway":
            first = epochs // 2 + 2
            return [self.lr] * first + [0.1 * self.lr] * (epochs + 1 - first)
        if self.schedule == "late":
            steps = (2 * epochs // 3, 5 * epochs // 6)
            return [self.lr * 0.2 ** sum(epoch >= step for step in steps) for epoch in range(epochs)]
        if self.schedule == "fifths":
            fifths = [number * epochs // 5 for number in range(1, 5)]
            return [self.lr * 0.5 ** sum(epoch >= at for at in fifths) for epoch in range(epochs)]
        if self.schedule == "constant":
            return [self.lr] * epochs
        period = epochs if self.schedule == "cosine" else 2 * epochs
        return [self.lr * (1 + math.cos(math.pi * epoch / period)) / 2 for epoch in range(epochs)]

    @property
    def remembered(self) -> tuple[str, ...]:
        """What the optimiser remembers of every parameter (:meth:`cmidd.compute.training.Training.states`)."""
        if self.optimizer == "sgd":
            return ("momentum",) if self.momentum > 0 else ()
        if self.optimizer == "gsam":
            return ()
        return ("step", "exp_avg", "exp_avg_sq")

    def new_optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        """A new optimiser for the network's parameters."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(network.parameters(), self.lr, self.momentum, weight_decay=self.weight_decay)
        if self.optimizer == "gsam":
            return GSAM(network.parameters(), self.lr, self.rho, self.alpha)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        betas = (self.momentum, 0.999)
        return kind(network.parameters(), self.lr, betas, weight_decay=self.weight_decay)


def refuse_unused(recipe: TrainingRecipe, where: str) -> None:
    """Refuse settings that the recipe does not use.

    Args:
        where: the name of the recipe, ``evaluation.training``.

    Raises:
        SettingError: naming the first, and the words that take all of them back.
    """
    unused = {"temperature"} if recipe.loss not in WITH_TEMPERATURE else set()
    unused |= {"hard_share", "targets", "hard_epochs"} if recipe.loss == "hard" else set()
    given = {name: value for name, value in vars(recipe).items() if name in unused and value != EARLIER[name]}
    if given:
        name, value = next(iter(given.items()))
        back = " ".join(f"{where}.{each}={EARLIER[each]}" for each in given)
        raise SettingError(
            f"{where}.{name}={value}: has no effect with loss={recipe.loss}; give another {where}.loss, or {back}"
        )
    if recipe.hard_epochs and recipe.epochs is not None and recipe.hard_epochs >= len(recipe.learning_rates):
        raise SettingError(
            f"{where}.hard_epochs={recipe.hard_epochs}: of {len(recipe.learning_rates)} in all; choose fewer, or "
            f"{where}.loss=hard"
        )
    _refuse_unused_of_the_optimizer(recipe, where)
    for name, operation in (("patches", "shuffle"), ("smallest", "zoom")):
        value, default = getattr(recipe.augment, name), EARLIER[f"augment.{name}"]
        if value != default and operation not in recipe.augment.strategy.split("_"):
            raise SettingError(
                f"{where}.augment.{name}={value}: is of {operation}, which is not in {where}.augment.strategy="
                f"{recipe.augment.strategy}; add it there, or give {where}.augment.{name}={default}"
            )


def refuse_passes(recipe: TrainingRecipe, where: str) -> None:
    """Refuse what says how often images are passed over, where networks are trained batch by batch.

    Args:
        where: the name of the recipe, ``method.net``.

    Raises:
        SettingError: naming the first.
    """
    for name in ("epochs", "schedule"):
        value, default = getattr(recipe, name), getattr(TrainingRecipe(), name)
        if value != default:
            raise SettingError(
                f"{where}.{name}={value}: has no effect, for networks are trained batch by batch at one learning rate; "
                f"leave it out, or {where}.{name}={default}"
            )


def _refuse_unused_of_the_optimizer(recipe: TrainingRecipe, where: str) -> None:
    if recipe.optimizer == "gsam":
        useless = dict.fromkeys(("momentum", "weight_decay"), 0.0)
    else:
        useless = {name: EARLIER[name] for name in ("rho", "alpha")}
    for name, value in useless.items():
        if getattr(recipe, name) != value:
            raise SettingError(
                f"{where}.{name}={getattr(recipe, name):g}: has no effect with {where}.optimizer={recipe.optimizer}; "
                f"give {where}.{name}={value:g}, or another optimizer"
            )


def with_hard_labels(recipe: TrainingRecipe) -> TrainingRecipe:
    """The same recipe for images that have no soft labels."""
    names = ("loss", "temperature", "hard_share", "targets", "hard_epochs")
    return replace(recipe, **{name: EARLIER[name] for name in names})


def stated(recipe: TrainingRecipe) -> dict[str, Any]:
    """What keys, identities and records say of a recipe: all but :data:`EARLIER`."""
    return without_values(asdict(recipe), EARLIER)


def hashed_form(part: Any, above: str = "") -> str:
    """The ``repr`` of a recipe without :data:`EARLIER`: what hashes are made of."""
    if not is_dataclass(part):
        return repr(part)
    values = {each.name: getattr(part, each.name) for each in fields(part)}
    unsaid = {name for name, value in values.items() if EARLIER.get(f"{above}{name}", ...) == value}
    inner = (f"{name}={hashed_form(value, f'{above}{name}.')}" for name, value in values.items() if name not in unsaid)
    return f"{type(part).__qualname__}({', '.join(inner)})"
