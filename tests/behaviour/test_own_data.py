"""Whole runs on data of every kind that people bring: distilled, evaluated, recorded with what was understood."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.support.layouts import WNIDS, classes, picture, tiny_imagenet
from tests.support.refusals import script, script_refused
from tests.support.runs import TINY

SHORT = [*TINY, "method=dm", "method.iterations=2", "ipc=1", "evaluation.repeats=1", "evaluation.baselines=[]"]


def imagenet_like(folder):
    """Photographs of many sizes below WNIDs, none of them square."""
    for part, count in (("train", 2), ("val", 1)):
        for number, name in enumerate(WNIDS):
            for each in range(count):
                picture(folder / part / name / f"{each}.JPEG", (60 * number, 90, 200), (200 + 10 * each, 150))
    (folder / "noisy_imagenette.csv").write_text("path,noisy_labels_0\n")


def medmnist_like(folder):
    held = {}
    for part, count in (("train", 12), ("val", 3), ("test", 6)):
        held[f"{part}_images"] = np.random.default_rng(0).integers(0, 256, (count, 28, 28, 3), dtype=np.uint8)
        held[f"{part}_labels"] = (np.arange(count) % 3)[:, None].astype(np.uint8)
    np.savez(folder / "pathmnist.npz", **held)


def cifar100_like(folder):
    held = {}
    for part, count in (("train", 200), ("test", 100)):
        held[f"{part}_images"] = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        held[f"{part}_labels"] = np.arange(count) % 100
    np.savez(folder / "cifar100.npz", **held)


KINDS = {
    "like ImageNet at 128 pixels": (
        imagenet_like,
        ["dataset=folder", "data.root=mine", "dataset.size=128", "network.depth=5"],
        [3, 3, 128, 128],
        "3 classes",
    ),
    "Tiny-ImageNet's layout in small": (
        tiny_imagenet,
        ["dataset=folder", "data.root=mine", "dataset.size=16", "network.depth=2"],
        [3, 3, 16, 16],
        "Tiny-ImageNet's original",
    ),
    "like MedMNIST": (medmnist_like, ["dataset=arrays", "data.root=mine/pathmnist.npz"], [3, 3, 28, 28], None),
    "CIFAR100 in arrays": (cifar100_like, ["dataset=cifar100", "data.root=mine"], [100, 3, 32, 32], None),
    "grey pictures beside colour": (
        lambda folder: classes(folder, "ant", "bee", count=4),
        ["dataset=folder", "data.root=mine", "dataset.channels=1", "dataset.size=16", "network.depth=2"],
        [2, 1, 16, 16],
        "2 classes",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_run_on(kind, tmp_path):
    build, words, shape, understood = KINDS[kind]
    (tmp_path / "mine").mkdir()
    build(tmp_path / "mine")
    code, out, err = script("distill", *SHORT, *words, cwd=tmp_path)
    assert code == 0, err
    (record,) = (tmp_path / "results").rglob("result.json")
    found = json.loads(record.read_text())
    assert len(found["last"]["accuracies"]) == 1
    assert (understood is None) == (found.get("understood") is None)
    assert understood is None or understood in json.dumps(found["understood"]), found["understood"]
    with Image.open(record.with_name("synthetic.png")) as grid:
        assert grid.height * grid.width > shape[0] * shape[2] * shape[3]
    words = [f"synthetic={record.parent}", words[1], "repeats=1"]
    code, out, err = script("evaluate", *words, cwd=tmp_path)
    assert code == 0, err
    assert "(n=1)" in out


def test_a_part_of_tiny_imagenet_is_not_taken_for_it(tmp_path):
    (tmp_path / "mine").mkdir()
    tiny_imagenet(tmp_path / "mine")
    said = script_refused("own data", "distill", [*SHORT, "dataset=tiny_imagenet", "data.root=mine"], tmp_path, "200")
    assert "data.root=mine" in said
