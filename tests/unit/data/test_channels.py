"""Grey and colour images turned into one another, and small classes whose images are given again."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from cmidd.cli.compose import compose
from cmidd.data.colour import in_channels
from cmidd.data.dataset import Dataset
from cmidd.data.load import load_dataset
from cmidd.data.preprocessing import Normalize
from cmidd.data.split import Split
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.refusals import refused
from tests.support.runs import run_here

RANDOM = np.random.default_rng(0)


def test_grey_is_pillows_pixel_for_pixel():
    pixels = RANDOM.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    grey = in_channels(Split(torch.tensor(pixels).permute(2, 0, 1)[None], torch.zeros(1)), 1)
    assert np.array_equal(grey.images[0, 0].numpy(), np.asarray(Image.fromarray(pixels).convert("L")))


def test_a_grey_set_goes_in_colour_with_its_own_statistics(tmp_path):
    grey, colour = (load_dataset("digits", channels=channels) for channels in (None, 3))
    assert (grey.image_shape, colour.image_shape) == ((1, 8, 8), (3, 8, 8))
    assert torch.equal(colour.train.images[:, 2], grey.train.images[:, 0])
    np.savez(tmp_path / "mnist.npz", **arrays((28, 28)))
    mnist = load_dataset("mnist", root=tmp_path, download=False, channels=3, statistics="mnist")
    assert mnist.preprocessing.mean.tolist() == pytest.approx([0.1307] * 3)


def test_a_colour_set_goes_in_grey_but_not_with_the_statistics_of_three_channels(tmp_path):
    np.savez(tmp_path / "cifar10.npz", **arrays((32, 32, 3)))
    data = load_dataset("cifar10", root=tmp_path, download=False, channels=1)
    assert data.image_shape == (1, 32, 32)
    words = {"root": tmp_path, "download": False, "channels": 1, "statistics": "cifar10"}
    refused("data", "grey", lambda: load_dataset("cifar10", **words), "statistics=cifar10", "'train'")


def arrays(shape):
    labels = np.arange(20) % 10
    pixels = {f"{part}_images": RANDOM.integers(0, 256, (20, *shape), dtype=np.uint8) for part in ("train", "test")}
    return pixels | {f"{part}_labels": labels for part in ("train", "test")}


@pytest.mark.parametrize("words", [["dataset=cifar10"], ["dataset=folder"], []])
def test_at_their_defaults_the_new_settings_are_no_part_of_what_names_runs_and_caches(words):
    settings = compose(["method=dm", *words])
    assert "fill" not in settings.dataset
    assert settings.dataset.get("channels") == (3 if words == ["dataset=folder"] else None)
    changed = compose(["method=dm", *words, "dataset.fill=repeat", "dataset.channels=1"])
    assert changed.identity["dataset"] == {**settings.identity["dataset"], "fill": "repeat", "channels": 1}


def long_tailed(fill, sizes=(7, 3, 1)):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    split = Split(torch.arange(float(len(labels)))[:, None, None, None].expand(-1, 1, 2, 2), labels)
    plain = Normalize(torch.zeros(1), torch.ones(1))
    return Dataset("tail", split, split, tuple("abc"), plain, fill=fill)


def drawn(data, size, stream="a"):
    """How often each image of each class is in a batch."""
    batch = data.class_batches(size, Streams(0)(stream))
    assert batch.labels.tolist() == sorted(batch.labels.tolist())
    counts = batch.images[:, 0, 0, 0].long().bincount(minlength=len(data.train))
    return [counts[members].tolist() for members in data.class_members]


def test_a_small_class_gives_its_images_again_as_evenly_as_it_can():
    large, small, one = drawn(long_tailed(True), 5)
    assert sorted(large) == [0, 0, 1, 1, 1, 1, 1]
    assert sorted(small) == [1, 2, 2]
    assert one == [5]
    assert [sum(counts) for counts in drawn(long_tailed(False), 5)] == [5, 3, 1]


def test_where_no_class_is_too_small_the_draws_are_the_same_bits():
    for size in (1, 2, 3):
        plain, filled = long_tailed(False, (7, 3, 4)), long_tailed(True, (7, 3, 4))
        assert drawn(plain, size) == drawn(filled, size)
        for one, other in zip(
            plain.distinct_class_batches(size, 3, Streams(0)("b")),
            filled.distinct_class_batches(size, 3, Streams(0)("b")),
            strict=True,
        ):
            assert torch.equal(one.images, other.images)
        first, second = (data.cycled_class_batches(size, 4, Streams(0)) for data in (plain, filled))
        assert torch.equal(first.images, second.images)


def test_tiles_and_cycled_batches_are_filled_too():
    data = long_tailed(True)
    for batch in data.distinct_class_batches(4, 3, Streams(0)("b")):
        assert batch.labels.bincount().tolist() == [4, 4, 4]
    for number in range(3):
        assert data.cycled_class_batches(5, number, Streams(0)).labels.bincount().tolist() == [5, 5, 5]


def test_the_refusal_names_the_way_out():
    refused("data", "tail", lambda: long_tailed(False).check_ipc(2), "ipc=2", "class 'c'", "dataset.fill=repeat")
    long_tailed(True).check_ipc(2)


def test_a_run_on_a_long_tail_starts_from_repeated_images(tmp_path):
    labels = np.array([0] * 8 + [1] * 8 + [2] * 2)
    pixels = RANDOM.integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    path = tmp_path / "tail.npz"
    np.savez(path, train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    words = ["dataset=arrays", f"data.root={path}", "ipc=4", "network.depth=1", "evaluation.repeats=1"]
    with pytest.raises(SettingError, match=r"dataset\.fill=repeat"):
        run_here(tmp_path / "results", "dm", *words)
    dream = ["sampler=dream", f"results_root={tmp_path / 'dream'}"]
    for method, more in (("dm", []), ("idc", []), ("dm", dream), ("datm", ["method.experts.count=1"])):
        folder = run_here(tmp_path / "results", method, *words, "dataset.fill=repeat", *more)
        record = json.loads((folder / "result.json").read_text())
        assert record["settings"]["dataset"]["fill"] == "repeat"
