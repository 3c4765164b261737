"""Losses of training on hard and soft labels.

Targets are logits ``[B, C]`` like what they are compared with; each is the mean over the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cmidd.compute.recipe import TrainingRecipe
from cmidd.utils.errors import SettingError


@dataclass(frozen=True)
class Mix:
    """How the images of a batch were mixed: each has a ``share`` of itself and the rest of its ``partner`` ``[B]``."""

    partner: Tensor
    share: float | Tensor


def soft_cross_entropy(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """-sum softmax(t / T) log softmax(s / T): DATM's at T = 1, DD-Ranking's SCE (loss/sce.py:41-54)."""
    return F.cross_entropy(logits / temperature, (targets / temperature).softmax(1))


def kl(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """KL(softmax(t / T) || softmax(s / T)), without a factor T^2: RDED, SRe2L."""
    ours, theirs = ((each / temperature).log_softmax(1) for each in (logits, targets))
    # F.kl_div written out, to the same bits: it cannot be computed of several networks at once (torch.vmap).
    return (theirs.exp() * (theirs - ours)).sum() / len(ours)


def mse(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Mean squared difference of the logits, which has no temperature: G-VBSM, FRePo."""
    return F.mse_loss(logits, targets)


def corrected(logits: Tensor, labels: Tensor) -> Tensor:
    """A teacher's logits ``[N, C]`` as soft labels: where it names another class than ``labels`` ``[N]``, the row is
    one at the class and zero elsewhere (NCFM, utils/train_val.py:64-88). Losses take the softmax of that too, so that
    such a label is e / (e + C - 1) sure of its class, not all.
    """
    wrong = logits.argmax(1) != labels
    one_hot = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return torch.where(wrong[:, None], one_hot, logits)


SOFT: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"soft": soft_cross_entropy, "kl": kl, "mse": mse}


def loss_of(
    recipe: TrainingRecipe, logits: Tensor, labels: Tensor, targets: Tensor | None = None, mix: Mix | None = None
) -> Tensor:
    """The loss of a batch by its recipe.

    Args:
        labels: hard, ``[B]``.
        targets: soft ones as logits ``[B, C]``, where the recipe's loss is not ``hard``: of the images before they
            were mixed, or with ``recipe.targets`` ``teacher`` of the mixed ones. None: the loss is ``hard``.
        mix: how the images were mixed. Losses with labels of the images before are mixed in the same shares.
    """

    def mixed(loss: Callable[[Tensor, Tensor], Tensor], truth: Tensor) -> Tensor:
        if mix is None:
            return loss(logits, truth)
        return mix.share * loss(logits, truth) + (1 - mix.share) * loss(logits, truth[mix.partner])

    if recipe.loss == "hard" or targets is None:
        return mixed(F.cross_entropy, labels)

    def softly(ours: Tensor, theirs: Tensor) -> Tensor:
        return SOFT[recipe.loss](ours, theirs, recipe.temperature)

    loss = softly(logits, targets) if recipe.targets == "teacher" else mixed(softly, targets)
    return loss + recipe.hard_share * mixed(F.cross_entropy, labels) if recipe.hard_share else loss


def refuse_unlabelled(recipe: TrainingRecipe, soft: Tensor | None, *, is_taught: bool) -> None:
    """Refuse to train by a recipe whose soft labels nobody gives.

    Args:
        soft: labels of the images' own, where they have any.
        is_taught: whether there is a teacher.

    Raises:
        SettingError: naming what asks for them.
    """
    if recipe.loss == "hard":
        return
    if recipe.taught and not is_taught:
        raise SettingError(
            f"evaluation.training.targets={recipe.targets}: there is no teacher here; give "
            "evaluation.training.targets=set for soft labels of the set's own, or evaluation.training.loss=hard"
        )
    if recipe.targets == "set" and soft is None:
        raise SettingError(
            f"evaluation.training.loss={recipe.loss}: the images have hard labels alone; give "
            "evaluation.training.loss=hard, or evaluation.training.targets=teacher with a teacher"
        )
