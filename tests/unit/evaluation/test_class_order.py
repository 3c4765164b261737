"""Who is in which class is not guessed: sets meet data sets by the names of classes, and a permuted order is found."""

import dataclasses

import numpy as np
import pytest
import torch

from cmidd.compute.recipe import TrainingRecipe
from cmidd.data.load import load_dataset
from cmidd.evaluation.class_order import Confusion, permuted
from cmidd.evaluation.evaluate import evaluate
from cmidd.synthetic.classes import by_name, refuse_other_classes
from cmidd.synthetic.synthetic_set import Stage, SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support import evaluations
from tests.support.refusals import refused

SMALL = {"name": "convnet", "width": 16, "depth": 1}
DIGITS = load_dataset("digits")
TURNED = torch.arange(10).roll(1)


@pytest.fixture
def real_set():
    synthetic = SyntheticSet.from_real(DIGITS, 2, Streams(0)("init"))
    synthetic.about = {"data": {"name": "digits"}, "network": SMALL, "training": {"epochs": 30}}
    return synthetic


def evaluated(path):
    """What ``scripts/evaluate.py`` writes of a set: its record and its Markdown."""
    return evaluations.evaluated(f"synthetic={path}", "networks=[convnet]", "evaluation.repeats=2")


def test_permuted_labels_are_found_and_reported_and_change_no_accuracy(tmp_path, real_set, caplog):
    real_set.leaf_labels = TURNED[real_set.leaf_labels]
    real_set.save(tmp_path / "synthetic.safetensors")
    record, page = evaluated(tmp_path / "synthetic.safetensors")
    found = record["classes_seem_permuted"]["convnet"]
    assert found["called"] == {str(label): str(int(TURNED[label])) for label in range(10)}
    assert found["accuracy"] == pytest.approx(np.mean(record["accuracies"]["convnet"]))
    assert found["accuracy"] < 15 < 60 < found["matched_accuracy"]
    said = f"matched accuracy {found['matched_accuracy']:.1f}"
    for where in (page, caplog.text):
        assert "the classes seem to be permuted: 0 is called 9, 1 is called 0" in where
        assert said in where
    alone = evaluate(DIGITS, SMALL, [(real_set.decode(), TrainingRecipe(epochs=30))], 2, Streams(0).child("convnet"))
    assert alone == record["accuracies"]["convnet"]


@pytest.mark.parametrize("kind", ["real", "noise", "one grey a class"])
def test_neither_a_good_set_nor_a_plainly_bad_one_is_called_permuted(tmp_path, real_set, kind):
    noise = torch.randn(real_set.leaf.shape, generator=torch.Generator().manual_seed(0))
    grey = torch.linspace(-1, 1, 10)[real_set.leaf_labels][:, None, None, None]
    real_set.leaf = {"real": real_set.leaf, "noise": noise, "one grey a class": grey + 0.1 * noise}[kind]
    real_set.save(tmp_path / "synthetic.safetensors")
    record, page = evaluated(tmp_path / "synthetic.safetensors")
    assert (np.mean(record["accuracies"]["convnet"]) > 50) == (kind == "real")
    assert record["classes_seem_permuted"] == {}
    assert "permuted" not in page


def confusion(shares, fitted=100.0):
    return Confusion((torch.tensor(shares) * 1000).long(), [fitted])


def test_two_swapped_classes_of_a_good_set_are_found():
    shares = torch.full((5, 5), 0.05) + 0.75 * torch.eye(5)[[0, 1, 3, 2, 4]]
    found = permuted(confusion(shares.tolist()))
    assert found.called == {2: 3, 3: 2}
    assert (found.accuracy, found.matched) == (pytest.approx(50), pytest.approx(80))
    assert permuted(confusion(shares.tolist(), fitted=50.0)) is None


def test_classes_that_are_taken_for_one_another_are_no_permutation():
    """A class that is mostly called by its neighbour, which is mostly called rightly."""
    shares = torch.full((5, 5), 0.05) + 0.75 * torch.eye(5)
    shares[2] = torch.tensor([0.0, 0.0, 0.1, 0.9, 0.0])
    assert permuted(confusion(shares.tolist())) is None


def test_a_confusion_counts_rows_as_true_and_columns_as_called():
    counts = Confusion.of(3)
    counts.add(torch.tensor([0, 0, 2]), torch.tensor([1, 1, 0]), 90.0)
    assert counts.counts.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


def test_the_same_names_in_another_order_are_mapped_and_said(tmp_path, real_set, caplog):
    real_set.save(tmp_path / "synthetic.safetensors")
    plain, _ = evaluated(tmp_path / "synthetic.safetensors")
    names = tuple(real_set.classes[int(TURNED.argsort()[label])] for label in range(10))
    turned = dataclasses.replace(real_set, classes=names, leaf_labels=TURNED[real_set.leaf_labels])
    (tmp_path / "turned").mkdir()
    turned.save(tmp_path / "turned" / "synthetic.safetensors")
    record, page = evaluated(tmp_path / "turned" / "synthetic.safetensors")
    assert record["accuracies"] == plain["accuracies"]
    assert (plain["labels_mapped_by_name"], record["labels_mapped_by_name"]) == (False, True)
    for where in (page, caplog.text):
        assert "another order than digits: its labels are mapped by their names" in where


def test_the_labels_of_finished_stages_are_mapped_too(real_set):
    real_set.finished = [Stage(real_set.leaf[:4], real_set.leaf_labels[:4], None)]
    mapped = by_name(real_set, real_set.classes[::-1], "a set", "digits")
    assert mapped.labels.tolist() == (9 - real_set.labels).tolist()
    assert mapped.classes == real_set.classes[::-1]
    assert by_name(real_set, real_set.classes, "a set", "digits") is real_set


OTHERS = {
    "fewer": (("ant", "bee"), ["a set of 3 classes", "has 2"]),
    "others": (("ant", "bee", "cow"), ["class 2 of the set is 'cat'", "'cow'"]),
    "twice": (("ant", "ant", "bee"), ["two classes 'ant'"]),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_classes_are_refused_with_the_first_that_differs(kind):
    classes, names = OTHERS[kind]
    for check in (refuse_other_classes, lambda own, *rest: by_name(SyntheticSet(None, None, None, own), *rest)):
        refused(
            "classes", kind, lambda check=check: check(("ant", "bee", "cat"), classes, "a.st", "pets"), "a.st", *names
        )


def test_where_a_set_is_measured_as_its_run_did_another_order_is_refused():
    words = (("ant", "bee", "cat"), ("bee", "ant", "cat"), "a.st", "pets")
    refused("classes", "order", lambda: refuse_other_classes(*words), "class 0 is 'ant'", "'bee'", "another order")
    refuse_other_classes(("ant", "bee"), ("ant", "bee"), "a.st", "pets")
