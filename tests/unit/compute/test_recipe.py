"""Recipes of training: schedules, optimisers, what keys say of them, and training that goes on to the same bits."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from cmidd.buffers.experts import ExpertRecipe, Experts, ExpertSettings
from cmidd.buffers.teachers import pool_files, teacher_recipe
from cmidd.cli.compose import compose
from cmidd.compute import kept, training
from cmidd.compute.earlier import EARLIER
from cmidd.compute.kept import train_kept
from cmidd.compute.recipe import TrainingRecipe, hashed_form, refuse_unused, stated
from cmidd.compute.training import train
from cmidd.data.augmentation import Augmentation
from cmidd.data.split import Split
from cmidd.evaluation.baselines import baseline_file
from cmidd.evaluation.train_on_set import digest, train_through
from cmidd.runs.run import _about
from cmidd.utils import cache, files, tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.contexts import context

DATA = Split(torch.randn(24, 1, 4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(24) % 3)
ADAM = TrainingRecipe(epochs=4, lr=0.01, batch=7, optimizer="adam", schedule="cosine")


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.fixture(autouse=True)
def _plain_passes(monkeypatch):
    monkeypatch.setattr(training.passes, "logits", lambda network, images: network(images))


def test_schedules_are_those_of_the_sources():
    rates = {
        kind: TrainingRecipe(epochs=10, lr=2.0, schedule=kind).learning_rates
        for kind in ("cosine", "half_cosine", "fifths")
    }
    assert rates["fifths"] == [2.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert rates["cosine"] == pytest.approx([1 + math.cos(math.pi * epoch / 10) for epoch in range(10)])
    assert rates["half_cosine"] == pytest.approx([1 + math.cos(math.pi * epoch / 20) for epoch in range(10)])
    assert rates["half_cosine"][-1] > 1 > rates["cosine"][5] - 1e-9  # One ends at half the rate, one at none.
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 2.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for rate in rates["cosine"]:
        assert rate == pytest.approx(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()


@pytest.mark.parametrize("epochs", [1, 2, 10, 301])
def test_the_schedules_of_dc_and_of_idc_are_those_of_their_loops(epochs):
    """DC utils.py, evaluate_synset: lr_schedule = [Epoch//2+1], epochs 0 .. Epoch; IDC train.py: milestones [2 *
    epochs // 3, 5 * epochs // 6], gamma 0.2.
    """
    halfway, lr = [], 1.0
    for epoch in range(epochs + 1):
        halfway.append(lr)
        if epoch in [epochs // 2 + 1]:
            lr *= 0.1
    assert TrainingRecipe(epochs=epochs, lr=1.0, schedule="halfway").learning_rates == pytest.approx(halfway)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2 * epochs // 3, 5 * epochs // 6], gamma=0.2)
    late = []
    for _ in range(epochs):
        late.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert TrainingRecipe(epochs=epochs, lr=1.0, schedule="late").learning_rates == pytest.approx(late)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_momentum_is_the_first_beta_of_adam(name, kind):
    optimizer = TrainingRecipe(optimizer=name, momentum=0.8, weight_decay=0.02, lr=0.3).new_optimizer(small())
    assert type(optimizer) is kind
    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.3, (0.8, 0.999), 0.02)


def test_keys_identities_and_hashes_are_what_they_were_before_there_were_soft_labels(tmp_path):
    """The literals were computed by the code of before (commit 220f146)."""
    data = Split(torch.arange(2 * 1 * 8 * 8).reshape(2, 1, 8, 8).float() / 7, torch.tensor([1, 0]))
    augment = Augmentation("color_crop", composition="idc")
    recipe = TrainingRecipe(epochs=3, lr=0.05, schedule="late", cutmix=0.5, augment=augment)
    assert digest([(data, recipe), (data, TrainingRecipe())]).startswith("76419cbd631830cb1acd")
    assert digest([(data, ExpertRecipe(epochs=3))]).startswith("26289282204cb88ca590")
    world = context(tmp_path)
    assert pool_files(world, "convnet", 1, teacher_recipe(2))[1][0].parent.name == "digits_convnet_df9bdf4fde20"
    for schedule, name in (("constant", "digits_3471c214bc50"), ("halfway", "digits_84f0334775d0")):
        made = Experts(world, ExpertSettings(1, ExpertRecipe(epochs=2, schedule=schedule)), make=False)
        assert made.folder.name == name
    for method, identity, random in (
        ("mtt", "901e6e262c10", "d1a4c7482256"),
        ("idc", "dbc522229bfe", "3e89e19a1fcc"),
    ):
        settings = compose([f"method={method}"])
        assert cache.fingerprint(files.as_json(settings.identity)) == identity
        names = [baseline_file(world, settings.evaluation, 2, kind)[0].name for kind in ("random", "whole")]
        assert names == [f"digits_random_{random}.json", "digits_whole_1d8eefed0341.json"]
    assert cache.fingerprint(files.as_json(_about(compose(["method=idc"])))) == "8e77c9a24ed3"


def test_another_value_of_a_new_setting_is_in_keys_identities_and_hashes():
    plain = TrainingRecipe()
    others = {"loss": "kl", "temperature": 2.0, "hard_share": 0.5, "targets": "teacher", "hard_epochs": 1}
    others |= {
        "optimizer": "adam",
        "rho": 0.1,
        "alpha": 1.0,
        "mixup": 0.8,
        "augment": Augmentation("shuffle_zoom", patches=2, smallest=0.5),
    }
    assert {name.partition(".")[0] for name in EARLIER} == set(others)
    for name, value in others.items():
        other = dataclasses.replace(plain, **{name: value})
        assert hashed_form(other) != hashed_form(plain)
        assert stated(other) != stated(plain)
    assert "augment=Augmentation(strategy='shuffle_zoom'" in hashed_form(other)
    assert "patches=2, smallest=0.5" in hashed_form(other)
    for word in ("loss=kl", "mixup=0.5", "optimizer=adam"):
        name = word.partition("=")[0]
        assert name in compose([f"evaluation.training.{word}"]).identity["evaluation"]["training"]


def test_soft_labels_are_in_the_hash_of_what_is_trained_on():
    soft = torch.zeros(24, 3)
    names = {digest([(Split(DATA.images, DATA.labels, soft=each), ADAM)]) for each in (None, soft, soft + 1)}
    assert len(names) == 3


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (
            TrainingRecipe(temperature=4.0),
            r"t\.temperature=4\.0: has no effect with loss=hard; give another t\.loss, or",
        ),
        (TrainingRecipe(loss="mse", temperature=4.0), r"t\.temperature=4\.0: has no effect with loss=mse"),
        (TrainingRecipe(hard_epochs=1), r"t\.hard_epochs=1: has no effect with loss=hard"),
        (TrainingRecipe(epochs=5, loss="kl", hard_epochs=5), r"t\.hard_epochs=5: of 5 in all; choose fewer"),
        (TrainingRecipe(targets="teacher"), r"t\.targets=teacher: .*, or t\.targets=set$"),
        (
            TrainingRecipe(augment=Augmentation("flip", patches=2)),
            r"t\.augment\.patches=2: is of shuffle, which is not",
        ),
    ],
)
def test_what_a_loss_or_an_augmentation_does_not_use_is_refused(recipe, said):
    with pytest.raises(SettingError, match=said):
        refuse_unused(recipe, "t")


def stopped(monkeypatch, recipe, keep, after):
    """A training that is kept after every epoch, and stops in the one with index ``after``."""
    steps, step, each = [], training.train_step, math.ceil(len(DATA) / recipe.batch)

    def counted(*arguments, **named):
        if len(steps) == after * each:
            raise KeyboardInterrupt
        steps.append(1)
        return step(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(kept, "KEPT_SECONDS", 0.0)
        patch.setattr(training, "train_step", counted)
        with pytest.raises(KeyboardInterrupt):
            train_kept(small(), DATA, recipe, Streams(3), what=None, keep=keep, made_by={})


@pytest.mark.parametrize("changes", [{}, {"optimizer": "adamw", "schedule": "halfway"}, {"optimizer": "sgd"}])
def test_training_by_any_optimiser_goes_on_to_the_bits_that_it_would_have_had(tmp_path, monkeypatch, changes):
    recipe = dataclasses.replace(ADAM, **changes)
    whole, resumed = small(), small()
    train(whole, DATA, recipe, Streams(3), what=None)
    stopped(monkeypatch, recipe, tmp_path / "kept", after=2)
    train_kept(resumed, DATA, recipe, Streams(3), what=None, keep=tmp_path / "kept", made_by={})
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_an_unfinished_training_by_sgd_is_called_in_its_file_what_it_was_before_there_were_others(
    tmp_path, monkeypatch
):
    stopped(monkeypatch, TrainingRecipe(epochs=3, batch=7), tmp_path / "kept", after=2)
    names = {"1.weight", "1.bias", "3.weight", "3.bias"} | {f"momentum_000{number}" for number in range(4)}
    assert tensor_files.read_tensors(tmp_path / "kept")[0].keys() == names


def test_what_adam_remembers_is_carried_from_stage_to_stage():
    stages, carried, fresh = [(DATA[:12], ADAM), (DATA, ADAM)], small(), small()
    train_through([carried], stages, [Streams(5)], what=None, optimizer="carried")
    train_through([fresh], stages, [Streams(5)], what=None)
    slow = small()
    used = train(slow, stages[0][0], ADAM, Streams(5), what=None)
    train(slow, DATA, ADAM, Streams(5).child("lesson", 1), what=None, optimizer=used)
    assert all(torch.equal(one, other) for one, other in zip(slow.parameters(), carried.parameters(), strict=True))
    assert not torch.equal(next(fresh.parameters()), next(carried.parameters()))


def test_experts_by_adam_go_on_to_the_same_bits(tmp_path):
    def made(folder, epochs):
        recipe = ExpertRecipe(epochs=epochs, optimizer="adam", lr=0.001)
        return Experts(context(tmp_path / folder, depth=1), ExpertSettings(1, recipe))

    made("grown", 1)
    assert all(map(torch.equal, made("grown", 2).segment(0, 1, 2), made("at once", 2).segment(0, 1, 2)))


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        (TrainingRecipe(optimizer="gsam", weight_decay=0.0), "evaluation.training.momentum=0.9: has no effect with"),
        (TrainingRecipe(optimizer="gsam", momentum=0.0), "evaluation.training.weight_decay=0.0005: has no effect with"),
        (TrainingRecipe(rho=0.1), "evaluation.training.rho=0.1: has no effect with evaluation.training.optimizer=sgd"),
        (TrainingRecipe(alpha=1.0), "evaluation.training.alpha=1: has no effect with evaluation.training.optimizer"),
    ],
)
def test_what_an_optimiser_does_not_use_is_refused(recipe, named):
    with pytest.raises(SettingError, match=named):
        refuse_unused(recipe, "evaluation.training")
