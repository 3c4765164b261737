"""Scores beside random images: the formulas, the terms behind them, and what a gain is."""

import dataclasses
import json
import statistics
import sys

import pytest
import torch

from cmidd.compute.recipe import TrainingRecipe
from cmidd.data.augmentation import Augmentation
from cmidd.data.load import load_dataset
from cmidd.evaluation.evaluate import evaluate
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.evaluation.score_terms import measure_scores
from cmidd.evaluation.scores import (
    Scores,
    augmentation_robust_score,
    hard_label_recovery,
    improvement_over_random,
    label_robust_score,
    robust_score,
)
from cmidd.evaluation.subject import Subject
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.refusals import refused


@pytest.mark.parametrize(
    ("accuracies", "weight", "hlr", "ior", "lrs"),
    [
        ((0.85, 0.65, 0.70, 0.50), 0.5, 0.20, 0.20, 0.268941),
        ((0.85, 0.65, 0.70, 0.50), 0.3, 0.20, 0.20, 0.236231),
        ((0.85, 0.65, 0.70, 0.50), 0.0, 0.20, 0.20, 0.191819),
        ((0.85, 0.65, 0.70, 0.50), 1.0, 0.20, 0.20, 0.363139),
        ((0.85, 0.45, 0.60, 0.55), 0.5, 0.40, 0.05, 0.200637),
        ((0.565, 0.10, 0.30, 0.25), 0.5, 0.465, 0.05, 0.189216),
    ],
)
def test_hlr_ior_and_lrs_are_those_of_section_1_2(accuracies, weight, hlr, ior, lrs):
    real_hard, syn_hard, syn_any, rdm_any = accuracies
    assert hard_label_recovery(real_hard, syn_hard) == pytest.approx(hlr)
    assert improvement_over_random(syn_any, rdm_any) == pytest.approx(ior)
    assert label_robust_score(*accuracies, weight) == pytest.approx(lrs, abs=5e-7)


@pytest.mark.parametrize(
    ("accuracies", "share", "ars"),
    [
        ((0.70, 0.50, 0.60, 0.48), 0.5, 0.342763),
        ((0.70, 0.50, 0.60, 0.48), 0.3, 0.334838),
        ((0.60, 0.60, 0.40, 0.45), 0.5, 0.258437),
    ],
)
def test_ars_is_that_of_section_1_2(accuracies, share, ars):
    assert augmentation_robust_score(*accuracies, share) == pytest.approx(ars, abs=5e-7)


@pytest.mark.parametrize(("alpha", "score"), [(-1, 0), (0, 0.268941421), (1, 1)])
def test_the_score_of_an_advantage_goes_from_0_to_1(alpha, score):
    assert robust_score(alpha) == pytest.approx(score, abs=5e-10)


def scores(**terms):
    """Scores of hard labels unless other terms are given, in per cent."""
    terms = {"syn_plain": terms["syn_hard"], "rdm_plain": terms["rdm_hard"], **terms}
    return Scores(terms, "given", "hard", 0.01)


def test_runs_are_scored_and_their_scores_averaged_not_their_accuracies():
    """Section 1.2: alpha of five runs as (0, -.1, .1, -.3, .2), with HLR 0 and so IOR twice that."""
    any_of = [50 + 200 * alpha for alpha in (0, -0.1, 0.1, -0.3, 0.2)]
    found = scores(real_hard=[60.0], syn_hard=[60.0] * 5, rdm_hard=[40.0] * 5, syn_any=any_of, rdm_any=[50.0] * 5)
    assert statistics.fmean(found.runs["LRS"]) == pytest.approx(0.266578, abs=5e-7)
    assert statistics.pstdev(found.runs["LRS"]) == pytest.approx(0.070209, abs=5e-7)
    assert robust_score(statistics.fmean((0, -0.1, 0.1, -0.3, 0.2))) == pytest.approx(0.260517, abs=5e-7)
    assert found.table_cells()[2] == "26.66 ± 7.02"
    record = found.record("x")
    assert record["LRS"]["mean"] == pytest.approx(0.266578, abs=5e-7)
    assert record["LRS"]["spread"] == pytest.approx(0.070209, abs=5e-7)
    assert "population" in record["spread_is"]


def test_a_run_has_the_real_accuracy_of_its_number_and_a_single_one_is_everybodys():
    terms = {"syn_hard": [50.0, 50.0], "rdm_hard": [30.0, 30.0], "syn_any": [60.0, 60.0], "rdm_any": [40.0, 40.0]}
    assert scores(real_hard=[80.0, 90.0], **terms).runs["HLR"] == pytest.approx([0.3, 0.4])
    assert scores(real_hard=[80.0], **terms).runs["HLR"] == pytest.approx([0.3, 0.3])


def test_a_gain_is_taken_apart_into_images_labels_and_augmentation():
    found = Scores(
        {
            "real_hard": [85.0],
            "rdm_hard": [26.0, 27.0, 25.0],
            "syn_hard": [44.0, 45.0, 43.0],
            "syn_plain": [44.0, 45.5, 43.4],
            "rdm_plain": [30.0, 31.0, 29.0],
            "syn_any": [52.0, 53.0, 51.3],
            "rdm_any": [38.0, 39.0, 37.0],
        },
        "given",
        "set",
        0.01,
    )
    assert found.sentence("convnet") == (
        "convnet: 26.1 points above random images with hard labels and no augmentation: 18.0 from the images, 0.3 from "
        "the labels (inside the noise) and 7.8 from the augmentation, added in this order; 14.1 points above random "
        "images with the same labels and augmentation."
    )
    total = statistics.fmean(found.accuracies["syn_any"]) - statistics.fmean(found.accuracies["rdm_hard"])
    assert sum(part.points for part in found.parts) == pytest.approx(total)


def test_hard_labels_and_no_augmentation_add_nothing_and_a_set_may_be_below_random_images():
    plain, random = [20.0, 21.0], [30.0, 31.0]
    found = scores(real_hard=[80.0], syn_hard=plain, rdm_hard=random, syn_any=plain, rdm_any=random)
    assert found.sentence("mlp") == (
        "mlp: 10.0 points below random images with hard labels and no augmentation: -10.0 from the images, none from "
        "the labels and none from the augmentation, added in this order; 10.0 points below random images with the same "
        "labels and augmentation."
    )


DATA = load_dataset("digits")
NETWORK = {"name": "mlp"}
RECIPE = TrainingRecipe(epochs=4, batch=64, augment=Augmentation("flip"))


def subject(soft=None, **recipe):
    synthetic = SyntheticSet.from_real(DATA, 2, Streams(1)("init"))
    synthetic.soft_labels = soft
    return Subject(synthetic, DATA, NETWORK, dataclasses.replace(RECIPE, **recipe))


def protocol(repeats=2):
    return EvaluationProtocol(repeats, 1, RECIPE, RECIPE)


def teacher(images):
    """Says the mean of an image, in ten ways."""
    return images.mean((1, 2, 3))[:, None] * torch.arange(10)


@pytest.fixture
def trained(monkeypatch):
    """The stages that networks are trained through, and whether a teacher was there."""
    seen, module = [], sys.modules[evaluate.__module__]
    train_through = module.train_through

    def watched(network, stages, streams, **how):
        seen.append((stages, how.get("teacher")))
        return train_through(network, stages, streams, **how)

    monkeypatch.setattr(module, "train_through", watched)
    return seen


def test_hard_labels_need_four_terms_and_what_was_measured_is_not_measured_again(trained):
    found = measure_scores(subject(), NETWORK, protocol(), Streams(0), real=[95.0], syn_any=[70.0, 72.0])
    assert len(trained) == 3 * 2
    assert found.accuracies["syn_any"] == [70.0, 72.0]
    assert found.accuracies["syn_plain"] is found.accuracies["syn_hard"]
    assert found.accuracies["rdm_plain"] is found.accuracies["rdm_hard"]
    assert (found.labels, found.lr, found.accuracies["real_hard"]) == ("hard", 0.01, [95.0])
    augmented = [stages[0][1].augment.strategy for stages, _ in trained]
    assert augmented == ["none"] * 4 + ["flip"] * 2


@pytest.mark.parametrize("mixing", ["cutmix", "mixup"])
def test_without_augmentation_batches_are_not_mixed_either(trained, mixing):
    measure_scores(subject(**{mixing: 0.5}), NETWORK, protocol(1), Streams(0), real=[95.0])
    assert [getattr(stages[0][1], mixing) for stages, _ in trained] == [0.0, 0.0, 0.5, 0.5]


def test_random_images_are_as_many_real_ones_of_each_class_anew_for_each_run_and_the_same_in_every_term(trained):
    measure_scores(subject(), NETWORK, protocol(), Streams(0), real=[95.0], syn_any=[70.0, 72.0])
    plain, augmented = ([stages[0][0] for stages, _ in trained[at : at + 2]] for at in (2, 4))
    assert plain[0].labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert not torch.equal(plain[0].images, plain[1].images)
    for one, other in zip(plain, augmented, strict=True):
        assert torch.equal(one.images, other.images)


def test_random_images_beside_a_set_in_stages_are_trained_on_in_as_many(trained):
    of_pdd = dataclasses.replace(subject(), optimizer="carried")
    of_pdd.synthetic.syn_lr = torch.tensor(0.125)
    of_pdd.synthetic.begin_stage(*dataclasses.astuple(DATA.class_batches(1, Streams(2)("init")))[:2])
    of_pdd.synthetic.syn_lr = torch.tensor(0.25)
    measure_scores(of_pdd, NETWORK, protocol(1), Streams(0), real=[95.0])
    assert [[(len(data), own.lr) for data, own in stages] for stages, _ in trained] == [[(20, 0.125), (30, 0.25)]] * 4
    first, last = (data for data, _ in trained[1][0])
    assert last.labels.tolist() == [label for label in range(10) for _ in range(3)]
    assert torch.equal(first.images, last.images[torch.arange(30) % 3 < 2])


SOFT = SoftLabels(torch.randn(20, 10, generator=torch.Generator().manual_seed(0)), "logits")


def test_random_images_beside_a_set_with_soft_labels_have_those_of_the_teacher_for_clean_images(trained):
    found = measure_scores(subject(SOFT, loss="kl"), NETWORK, protocol(1), Streams(0), real=[95.0], teacher=teacher)
    by_loss = [(stages[0][1].loss, stages[0][0].soft) for stages, _ in trained]
    assert [loss for loss, _ in by_loss] == ["hard", "hard", "kl", "kl", "kl", "kl"]
    assert torch.equal(by_loss[2][1], SOFT.values)
    (random, _), *_ = trained[3][0]
    assert torch.equal(random.soft, teacher(random.images))
    assert found.labels == "set"


def test_where_a_teacher_labels_every_batch_it_labels_random_images_so_too(trained):
    recipe = {"loss": "soft", "targets": "teacher"}
    found = measure_scores(subject(**recipe), NETWORK, protocol(1), Streams(0), real=[95.0], teacher=teacher)
    assert [(stages[0][1].targets, stages[0][0].soft) for stages, _ in trained[2:]] == [("teacher", None)] * 4
    assert all(given is teacher for _, given in trained)
    assert found.labels == "teacher"


def test_the_learned_step_size_is_that_of_random_images_too(trained):
    of_mtt = subject()
    of_mtt.synthetic.syn_lr = torch.tensor(0.125)
    found = measure_scores(of_mtt, NETWORK, protocol(1), Streams(0), real=[95.0])
    assert {stages[0][1].lr for stages, _ in trained} == {0.125}
    assert found.lr == 0.125


def test_soft_labels_without_a_teacher_and_more_images_than_a_class_has_are_refused_before_any_work(trained):
    soft = subject(SOFT, loss="kl")
    refused(
        "scores", "teacher", lambda: measure_scores(soft, NETWORK, protocol(), Streams(0), real=[95.0]), "cmi.teachers="
    )
    many = subject()
    many.synthetic.leaf_labels = torch.zeros(5000, dtype=torch.int64)
    refused("scores", "ipc", lambda: measure_scores(many, NETWORK, protocol(), Streams(0), real=[95.0]), "ipc=500")
    assert trained == []


def test_a_measurement_that_was_stopped_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    def measured(**where):
        return measure_scores(subject(), NETWORK, protocol(), Streams(0), real=[95.0], **where).accuracies

    undisturbed, kept, left = measured(), tmp_path / "kept.json", iter(range(5))
    module = sys.modules[evaluate.__module__]
    train_through = module.train_through

    def stopping(*given, **how):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return train_through(*given, **how)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "train_through", stopping)
        measured(kept=kept)
    assert sum(map(len, json.loads(kept.read_text()).values())) == 5
    left = iter(range(3))
    monkeypatch.setattr(module, "train_through", stopping)
    assert measured(kept=kept) == undisturbed


def test_what_another_optimiser_measured_of_random_images_is_not_gone_on_from(tmp_path):
    kept = []
    for optimizer in ("fresh", "carried"):
        path = tmp_path / f"{optimizer}.json"
        of = dataclasses.replace(subject(), optimizer=optimizer)
        measure_scores(of, NETWORK, protocol(1), Streams(0), real=[95.0], kept=path)
        kept.append(set(json.loads(path.read_text())))
    assert kept[0]
    assert not kept[0] & kept[1]
