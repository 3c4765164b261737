"""Data sets in files of arrays, and published ones in other people's files: read right, or refused in one line."""

import io
import json
import logging
import re
import shutil
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from cmidd.analysis.grouping import cells
from cmidd.analysis.results import read_results
from cmidd.data.load import DATASETS, load_dataset
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from tests.support.data_files import write_svhn
from tests.support.refusals import refused
from tests.support.runs import run_here, run_until

RANDOM = np.random.default_rng(0)


def arrays(shape=(8, 8), per_class=(6, 2), classes=3, column=True, parts=("train", "test")):
    """Arrays of random pixels; the labels are a column, as MedMNIST's are."""
    made = {}
    for part, count in zip(parts, per_class, strict=True):
        labels = np.arange(count * classes, dtype=np.uint8) % classes
        made[f"{part}_images"] = RANDOM.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
        made[f"{part}_labels"] = labels[:, None] if column else labels
    return made


def write(path, content):
    if path.suffix == ".npz":
        np.savez(path, **content)
    else:
        save_file({name: torch.tensor(value) for name, value in content.items()}, path)
    return path


LAYOUTS = {
    "grey": ((8, 10), (1, 8, 10), lambda pixels: pixels[None]),
    "grey, channel last": ((8, 8, 1), (1, 8, 8), lambda pixels: pixels.transpose(2, 0, 1)),
    "colour, channels last": ((8, 12, 3), (3, 8, 12), lambda pixels: pixels.transpose(2, 0, 1)),
    "colour, channels first": ((3, 8, 8), (3, 8, 8), lambda pixels: pixels),
}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_pixel_for_pixel(tmp_path, layout, suffix):
    shape, image_shape, channels_first = LAYOUTS[layout]
    content = arrays(shape, column=layout != "grey")
    data = load_dataset("arrays", root=write(tmp_path / f"flowers{suffix}", content))
    assert data.image_shape == image_shape
    assert (data.num_classes, len(data.train), len(data.test)) == (3, 18, 6)
    assert data.train.labels.tolist() == content["train_labels"].flatten().tolist()
    expected = torch.tensor(channels_first(content["test_images"][4]).copy()) / 255
    torch.testing.assert_close(data.preprocessing.inverse(data.test.images[4]), expected, rtol=0, atol=1e-6)
    assert data.origin == f"flowers{suffix}"


def test_validation_images_of_its_own_are_used_only_for_validation(tmp_path):
    content = arrays(per_class=(6, 2, 4), parts=("train", "test", "val"))
    root = write(tmp_path / "pathmnist.npz", content)
    plain, tuning = load_dataset("arrays", root=root), load_dataset("arrays", root=root, validation=0.5)
    assert (len(plain.train), len(plain.test), plain.held_out) == (18, 6, "test")
    assert (len(tuning.train), len(tuning.test), tuning.held_out) == (18, 12, "validation")
    assert tuning.test.labels.tolist() == content["val_labels"].flatten().tolist()


@pytest.mark.parametrize("kind", [np.int64, np.uint16, np.uint64])
def test_fewer_test_images_than_classes_are_read_and_so_are_labels_of_any_integers(tmp_path, kind):
    content = arrays(per_class=(2, 1), classes=20, column=False)
    content = {name: value[10:] if name.startswith("test") else value for name, value in content.items()}
    content = {name: value.astype(kind) if name.endswith("labels") else value for name, value in content.items()}
    data = load_dataset("arrays", root=write(tmp_path / "flowers.npz", content))
    assert (data.num_classes, data.test.labels.tolist()) == (20, list(range(10, 20)))


def without(name):
    return lambda content: content.pop(name)


def put(name, change):
    return lambda content: content.update({name: change(content[name])})


OTHERS = {"train_images": "x_train", "train_labels": "y_train", "test_images": "x_test", "test_labels": "y_test"}
FLAWS = {
    "no test set": (without("test_images"), "test_images"),
    "no labels": (without("train_labels"), "train_labels"),
    "floats": (put("train_images", lambda a: a / np.float32(255)), "float32"),
    "sixteen bits": (put("train_images", lambda a: a.astype(np.uint16)), "train_images of uint16;"),
    "other names": (
        lambda content: [content.update({OTHERS[name]: content.pop(name)}) for name in list(content)],
        "only x_test, x_train, y_test, y_train;",
    ),
    "one class": (
        lambda content: content.update({name: content[name] * 0 for name in content if name.endswith("labels")}),
        "found 1 class(es), distillation needs 2 or more",
    ),
    "a test label without end": (put("test_labels", lambda a: a.astype(np.int64) + 2**40), "test_labels from"),
    "two channels": (put("train_images", lambda a: np.stack([a, a], -1)), "neither 1 nor 3 channels"),
    "rows or channels": (put("train_images", lambda a: np.stack([np.stack([a[:, 0]] * 3, 1)] * 3, -1)), "as well as"),
    "five dimensions": (put("train_images", lambda a: a[:, None, None]), "train_images"),
    "no image": (put("train_images", lambda a: a[:0]), "train_images"),
    "several labels": (put("train_labels", lambda a: np.repeat(a, 14, 1)), "several labels"),
    "too few labels": (put("train_labels", lambda a: a[:-1]), "train_labels"),
    "labels between": (put("train_labels", lambda a: a + np.float32(0.5)), "float32"),
    "a negative label": (put("train_labels", lambda a: a.astype(np.int64) - 1), "from -1"),
    "labels from 1000": (put("train_labels", lambda a: a.astype(np.int64) + 1000), "to 1002"),
    "labels from one": (
        lambda content: content.update({name: content[name] + 1 for name in content if name.endswith("labels")}),
        "labels begin at 1; give the classes the numbers 0, 1, 2, ...",
    ),
    "a class without images": (put("train_labels", lambda a: np.where(a == 1, 0, a)), "class '1'"),
    "labels with gaps": (
        lambda content: content.update({name: content[name] * 2 for name in content if name.endswith("labels")}),
        "class '1' has no training image; add some, or number the classes without a gap",
    ),
    "test images of another size": (put("test_images", lambda a: a[:, :4]), "test images of"),
    "a pickled object": (put("train_labels", lambda a: a.astype(object)), "pickle"),
}


def test_a_reader_of_ones_own_that_returns_nothing_is_named(monkeypatch):
    monkeypatch.setitem(DATASETS.built_in, "own", lambda root, download: None)
    with pytest.raises(SettingError, match=r"^dataset=own: its read returned a NoneType; return a Source"):
        load_dataset("own")


@pytest.mark.parametrize(("images", "fraction"), [(1, 0.01), (2, 0.9)])
def test_a_class_that_is_all_held_out_is_named_with_what_helps(tmp_path, images, fraction):
    content = arrays(classes=2)
    content["train_labels"][:] = 0
    content["train_labels"][:images] = 1
    path = write(tmp_path / "flowers.npz", content)

    def held_out():
        return load_dataset("arrays", root=path, validation=fraction)

    words = f"dataset.validation={fraction}: class '1' has no training image left: of every class one at least is held"
    refused("arrays", f"held out {fraction}", held_out, words, "0 for none")
    assert load_dataset("arrays", root=path).class_members[1].tolist() == list(range(images))


def test_labels_from_one_are_not_laid_upon_the_fraction_that_is_held_out(tmp_path):
    content = {name: value + name.endswith("labels") for name, value in arrays().items()}
    path = write(tmp_path / "flowers.npz", content)
    with pytest.raises(SettingError, match=rf"^dataset=arrays, data.root={path}: labels begin at 1"):
        load_dataset("arrays", root=path, validation=0.2)


@pytest.mark.parametrize("kind", ["U", "S"])
def test_labels_in_words_are_told_how_they_become_numbers(tmp_path, kind):
    content = arrays(column=False)
    content["train_labels"] = np.array(["ant", "bee", "cow"]).astype(kind)[content["train_labels"]]
    path = write(tmp_path / "flowers.npz", content)
    text = str(content["train_labels"][:2].tolist())
    words = f"data.root={path}: train_labels of text, {text}; give class numbers as integers, as numpy.unique("
    with pytest.raises(SettingError, match=f"^{re.escape(words)}"):
        load_dataset("arrays", root=path)


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_in_a_file_of_arrays_is_named(tmp_path, flaw):
    change, name = FLAWS[flaw]
    content = arrays()
    change(content)
    path = write(tmp_path / "flowers.npz", content)
    refused("arrays", flaw, lambda: load_dataset("arrays", root=path), path, name)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"PK\3\4 no zip", b"\x80\x04\x95", bytes(64)])
def test_a_damaged_file_of_arrays_is_named(tmp_path, suffix, content):
    path = tmp_path / f"flowers{suffix}"
    path.write_bytes(content)
    refused("arrays", (suffix, content), lambda: load_dataset("arrays", root=path), path)


@pytest.mark.parametrize("root", ["none.npz", "folder", "set.csv"])
def test_what_is_no_file_of_arrays_is_named(tmp_path, root):
    (tmp_path / "folder").mkdir()
    (tmp_path / "set.csv").write_text("1,2")
    refused("arrays", root, lambda: load_dataset("arrays", root=tmp_path / root), "data.root=", root)


def test_an_array_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, train_images=np.zeros((40_000, 10, 10), np.uint8))
    monkeypatch.setattr("cmidd.data.npz_files.MOST_BYTES", 10**6)
    refused("arrays", "bomb", lambda: load_dataset("arrays", root=path), path, "at most")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_published_data_set_is_read_from_arrays_where_its_own_files_are_absent(tmp_path, suffix):
    content = arrays((32, 32, 3), classes=10)
    write(tmp_path / f"cifar10{suffix}", content)
    data = load_dataset("cifar10", root=tmp_path, download=False)
    assert (data.classes[3], data.origin, len(data.train)) == ("cat", f"cifar10{suffix}", 60)
    assert data.content is not None


def test_the_published_files_come_first_and_have_no_content_hash(tmp_path):
    first = write_svhn(tmp_path, "svhn")
    write(tmp_path / "svhn.npz", arrays((32, 32, 3), classes=10))
    with patch.object(torchvision.datasets.utils, "check_md5", lambda *a, **k: True):
        data = load_dataset("svhn", root=tmp_path, download=False)
    assert (data.origin, data.content) == (None, None)
    torch.testing.assert_close(
        data.preprocessing.inverse(data.train.images[0]), torch.tensor(first.copy()) / 255, rtol=0, atol=1e-6
    )


def test_arrays_stand_in_for_published_files_that_are_not_usable(tmp_path, caplog):
    write(tmp_path / "cifar10.npz", arrays((32, 32, 3), classes=10))
    (tmp_path / "cifar-10-batches-py").mkdir()
    with caplog.at_level(logging.WARNING):
        data = load_dataset("cifar10", root=tmp_path, download=False)
    assert (data.origin, len(data.train)) == ("cifar10.npz", 60)
    assert "not usable" in caplog.text
    assert "cifar10.npz is read instead" in caplog.text


@pytest.mark.parametrize("made", [{"shape": (28, 28), "classes": 10}, {"shape": (32, 32, 3), "classes": 9}])
def test_another_data_set_under_a_published_name_is_refused(tmp_path, made):
    path = write(tmp_path / "cifar10.npz", arrays(**made))
    refused("arrays", str(made), lambda: load_dataset("cifar10", root=tmp_path, download=False), path)


@pytest.mark.parametrize("change", ["a pixel", "a label", "a test image"])
def test_the_hash_tells_any_change(tmp_path, change):
    content = arrays()
    before = load_dataset("arrays", root=write(tmp_path / "a.npz", content)).content
    assert load_dataset("arrays", root=write(tmp_path / "b.safetensors", content)).content == before
    if change == "a pixel":
        content["train_images"][0, 0, 0] ^= 1
    elif change == "a label":
        content["train_labels"][0] = 1
    else:
        content["test_images"][0] ^= 1
    assert load_dataset("arrays", root=write(tmp_path / "a.npz", content)).content != before


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


HUB = {
    "cifar10": ("plain_text", "img", "label"),
    "cifar100": ("cifar100", "img", "fine_label"),
    "svhn": ("cropped_digits", "image", "label"),
}


def write_parquet(root, name):
    """As the hub's repository lays it out, the training set in two files."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    folder, image, label = HUB[name]
    classes = 100 if name == "cifar100" else 10
    (root / folder).mkdir(parents=True)
    pixels = RANDOM.integers(0, 256, (2 * classes, 32, 32, 3), dtype=np.uint8)
    labels = [*range(classes), *range(classes)]
    for part, rows in {
        "train-00000-of-00002": slice(0, classes),
        "train-00001-of-00002": slice(classes, None),
        "test-00000-of-00001": slice(0, classes),
        "extra-00000-of-00001": slice(0, 1),
    }.items():
        columns = {image: [png(own) for own in pixels[rows]], label: labels[rows], "coarse_label": labels[rows]}
        parquet.write_table(pyarrow.table(columns), root / folder / f"{part}.parquet")
    return pixels


@pytest.mark.parametrize("name", HUB)
@pytest.mark.parametrize("below", ["", "own"])
def test_parquet_of_the_hub_is_read_pixel_for_pixel(tmp_path, name, below):
    pixels = write_parquet(tmp_path / (name if below else ""), name)
    data = load_dataset(name, root=tmp_path, download=False)
    assert (len(data.train), len(data.test)) == (len(pixels), len(pixels) // 2)
    expected = torch.tensor(pixels[-1].transpose(2, 0, 1).copy()) / 255
    torch.testing.assert_close(data.preprocessing.inverse(data.train.images[-1]), expected, rtol=0, atol=1e-6)
    assert data.content is not None


SHARDS = {
    "one is missing": (lambda f: (f / "train-00000-of-00002.parquet").unlink(), "train-00000-of-00002.parquet is miss"),
    "another generation": (
        lambda f: shutil.copy(f / "train-00000-of-00002.parquet", f / "train-00000-of-00001.parquet"),
        "train-00000-of-00001.parquet, train-00000-of-00002.parquet are of different downloads",
    ),
    "one twice": (
        lambda f: shutil.copy(f / "test-00000-of-00001.parquet", f / "test-00000-of-00001-0f3a.parquet"),
        "test-00000-of-00001-0f3a.parquet and test-00000-of-00001.parquet are the same part",
    ),
    "counted from 1": (
        lambda f: (f / "train-00000-of-00002.parquet").rename(f / "train-00002-of-00002.parquet"),
        "train-00002-of-00002.parquet is none of 2 files",
    ),
}


@pytest.mark.parametrize("flaw", SHARDS)
def test_shards_that_are_missing_or_there_twice_are_named(tmp_path, flaw):
    change, words = SHARDS[flaw]
    write_parquet(tmp_path, "cifar10")
    change(tmp_path / "plain_text")
    refused("arrays", flaw, lambda: load_dataset("cifar10", root=tmp_path, download=False), words)


def test_parquet_without_numbers_is_read(tmp_path):
    write_parquet(tmp_path, "cifar10")
    for number in range(2):
        (tmp_path / "plain_text" / f"train-0000{number}-of-00002.parquet").rename(
            tmp_path / "plain_text" / f"train-part{number}.parquet"
        )
    assert len(load_dataset("cifar10", root=tmp_path, download=False).train) == 20


def test_damaged_parquet_is_named(tmp_path):
    write_parquet(tmp_path, "cifar10")
    path = tmp_path / "plain_text" / "test-00000-of-00001.parquet"
    path.write_bytes(b"PAR1")
    refused("arrays", "parquet", lambda: load_dataset("cifar10", root=tmp_path, download=False), path)


def short(folder, *words):
    return run_here(folder, "dm", "dataset=arrays", "ipc=2", "method.batch_real=4", *words)


@pytest.fixture
def flowers(tmp_path):
    """A file of arrays and the words that say where it is."""
    path = write(tmp_path / "flowers.npz", arrays(classes=10))
    return path, f"data.root={path}"


def test_a_run_is_named_by_its_file_and_records_what_was_read(tmp_path, flowers):
    path, root = flowers
    folder = short(tmp_path / "results", root, "evaluation.baselines=[random]")
    assert folder.relative_to(tmp_path / "results").parts[:2] == ("arrays_flowers", "dm")
    record = json.loads((folder / "result.json").read_text())
    content = load_dataset("arrays", root=path).content
    assert record["read_from"] == "flowers.npz"
    assert record["settings"]["data"] == {"file": "flowers", "content": content}
    made_by = [files.read_json(path)["made_by"] for path in (tmp_path / "buffers" / "baselines").glob("*.json")]
    assert [own["data"]["content"] for own in made_by] == [content]
    assert list(cells(read_results([tmp_path / "results"]))) == [("dm", "arrays_flowers", 2, "0")]


def test_a_run_does_not_go_on_with_other_images(tmp_path, flowers):
    path, root = flowers
    words = ("dataset=arrays", root, "ipc=2", "method.batch_real=4", "evaluation.interval=2")
    run_until(2, "checkpoint.safetensors", tmp_path / "results", "dm", *words)
    write(path, arrays(classes=10))
    with pytest.raises(SettingError, match="images have changed"):
        run_here(tmp_path / "results", "dm", *words)


def test_runs_on_different_images_of_one_name_are_no_cell(tmp_path):
    words = ("dataset=cifar10", "data.download=false", "ipc=1", "method.batch_real=4")
    for seed in (0, 1):
        root = tmp_path / f"data{seed}"
        root.mkdir()
        write(root / "cifar10.npz", arrays((32, 32, 3), classes=10))
        run_here(tmp_path / "results", "dm", *words, f"data.root={root}", f"seed={seed}")
    (cell,) = cells(read_results([tmp_path / "results"])).values()
    assert [result.seed for result in cell.results] == [0]
    assert [other.why.partition("=")[0] for other in cell.others] == ["data.content"]
