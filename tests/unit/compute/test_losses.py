"""Losses on soft labels: torch's own functions, and numbers by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from cmidd.compute.losses import Mix, kl, loss_of, mse, refuse_unlabelled, soft_cross_entropy
from cmidd.compute.recipe import TrainingRecipe
from cmidd.utils.errors import SettingError

DRAW = torch.Generator().manual_seed(0)
LOGITS, TARGETS = torch.randn(6, 4, generator=DRAW), torch.randn(6, 4, generator=DRAW)
LABELS, PARTNER = torch.tensor([0, 1, 2, 3, 0, 1]), torch.tensor([3, 4, 5, 0, 1, 2])


def test_two_classes_by_hand():
    """Logits 0 against targets log 3 : 0 (probabilities 3/4, 1/4)."""
    logits, targets = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert float(soft_cross_entropy(logits, targets, 1.0)) == pytest.approx(math.log(2))
    assert float(kl(logits, targets, 1.0)) == pytest.approx(math.log(2) - entropy)
    assert float(mse(logits, targets, 1.0)) == pytest.approx(math.log(3) ** 2 / 2)
    root = math.sqrt(3) / (1 + math.sqrt(3))  # At T = 2 the targets' probabilities are sqrt 3 : 1.
    entropy = -(root * math.log(root) + (1 - root) * math.log(1 - root))
    assert float(kl(logits, targets, 2.0)) == pytest.approx(math.log(2) - entropy)


@pytest.mark.parametrize("temperature", [1.0, 1.2, 20.0])
def test_they_are_the_formulas_of_the_sources(temperature):
    ours, theirs = LOGITS / temperature, (TARGETS / temperature).softmax(1)
    expected = -(theirs * ours.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(soft_cross_entropy(LOGITS, TARGETS, temperature), expected)
    expected = torch.nn.KLDivLoss(reduction="batchmean")(ours.log_softmax(1), theirs)
    torch.testing.assert_close(kl(LOGITS, TARGETS, temperature), expected)
    assert torch.equal(mse(LOGITS, TARGETS, temperature), torch.nn.MSELoss()(LOGITS, TARGETS))


def test_targets_far_apart_leave_kl_finite():
    assert float(kl(torch.zeros(1, 2), torch.tensor([[200.0, 0.0]]), 1.0)) == pytest.approx(math.log(2))


def test_hard_labels_are_cross_entropy_to_the_bit_mixed_or_not():
    plain, mix = TrainingRecipe(), Mix(PARTNER, 0.3)
    hard, other = F.cross_entropy(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS[PARTNER])
    assert torch.equal(loss_of(plain, LOGITS, LABELS), hard)
    assert torch.equal(loss_of(plain, LOGITS, LABELS, TARGETS), hard)  # A set's soft labels do nothing then.
    assert torch.equal(loss_of(plain, LOGITS, LABELS, mix=mix), 0.3 * hard + (1 - 0.3) * other)


@pytest.mark.parametrize("loss", ["soft", "kl", "mse"])
def test_mixed_images_mix_the_losses_of_the_sets_labels_and_not_those_of_a_teacher_that_saw_them_mixed(loss):
    mix, own = Mix(PARTNER, 0.3), TrainingRecipe(loss=loss, temperature=2.0)
    taught = TrainingRecipe(loss=loss, temperature=2.0, targets="teacher")
    plain, other = (loss_of(own, LOGITS, LABELS, targets) for targets in (TARGETS, TARGETS[PARTNER]))
    torch.testing.assert_close(loss_of(own, LOGITS, LABELS, TARGETS, mix), 0.3 * plain + 0.7 * other)
    torch.testing.assert_close(loss_of(taught, LOGITS, LABELS, TARGETS, mix), plain)


def test_a_share_of_the_hard_loss_is_added():
    """MSE-GT with a = 1 and b = 0.15: G-VBSM's for CIFAR10."""
    recipe = TrainingRecipe(loss="mse", hard_share=0.15)
    expected = F.mse_loss(LOGITS, TARGETS) + 0.15 * F.cross_entropy(LOGITS, LABELS)
    torch.testing.assert_close(loss_of(recipe, LOGITS, LABELS, TARGETS), expected)


def test_soft_labels_that_nobody_gives_are_refused():
    with pytest.raises(SettingError, match=r"^evaluation\.training\.loss=kl: the images have hard labels alone; give"):
        refuse_unlabelled(TrainingRecipe(loss="kl"), None, is_taught=True)
    with pytest.raises(SettingError, match=r"^evaluation\.training\.targets=teacher: there is no teacher here; give"):
        refuse_unlabelled(TrainingRecipe(loss="kl", targets="teacher"), TARGETS, is_taught=False)
    refuse_unlabelled(TrainingRecipe(), None, is_taught=False)
