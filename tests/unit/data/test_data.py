"""Data sets are read in their own format, split the same way every time, and whitened by the formula."""

import dataclasses
import gzip
import hashlib
from unittest.mock import patch

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from cmidd import load_synthetic
from cmidd.data import load, sources
from cmidd.data.load import load_dataset
from cmidd.data.preprocessing import ZCA, Normalize
from cmidd.data.published import PUBLISHED
from cmidd.synthetic.pictures import export
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.machine import machine_memory
from tests.support.data_files import WRITERS, images
from tests.support.refusals import refused
from tests.support.runs import run_here, run_until


@pytest.mark.parametrize("name", WRITERS)
def test_torchvision_data_sets_are_read_in_their_own_format(tmp_path, name):
    first = torch.tensor(WRITERS[name](tmp_path, name).copy()) / 255
    with patch.object(torchvision.datasets.utils, "check_md5", lambda *a, **k: True):
        data = load_dataset(name, root=tmp_path, download=False, statistics=name)
    assert data.num_classes == (100 if name == "cifar100" else 10)
    torch.testing.assert_close(data.preprocessing.inverse(data.train.images[0]), first, rtol=0, atol=1e-6)
    assert data.class_batches(1, torch.Generator()).labels.tolist() == list(range(data.num_classes))


def test_missing_data_is_one_line_with_both_ways_out(tmp_path):
    with pytest.raises(SettingError, match=r"looked for .* data.download=true, or put the published files") as error:
        load_dataset("svhn", root=tmp_path, download=False)
    assert "\n" not in str(error.value)


def test_missing_svhn_says_which_two_files_go_where(tmp_path):
    table = torchvision.datasets.SVHN.split_list
    refused(
        "data",
        "svhn",
        lambda: load_dataset("svhn", root=tmp_path, download=False),
        tmp_path.resolve(),
        *(f"{table[part][1]} from {table[part][0]}, MD5 {table[part][2]}" for part in ("train", "test")),
    )


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_a_file_for_the_folder_of_a_published_data_set_is_told_so(tmp_path, name):
    (path := tmp_path / f"{name}.npz").touch()
    ways = f"data.root={tmp_path}", f"dataset=arrays data.root={path}"
    refused("data", name, lambda: load_dataset(name, root=path), f"data.root={path}: a file", *ways)


def test_fashion_mnist_is_read_from_debians_package(tmp_path):
    if not sources.DEBIAN_FASHION_MNIST.is_dir():
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    data = load_dataset("fashion_mnist", root=tmp_path, download=False, statistics="fashion_mnist")
    assert (len(data.train), len(data.test)) == (60000, 10000)
    assert abs(float(data.train.images.mean())) < 1e-3


IDX_FILES = ("images-idx3-ubyte", "labels-idx1-ubyte")
RAW = {"mnist": "MNIST/raw", "fashion_mnist": "FashionMNIST/raw"}


@pytest.mark.parametrize("name", RAW)
def test_unpacked_files_that_are_not_the_published_ones_are_kept_apart(tmp_path, name, caplog):
    WRITERS[name](tmp_path, name)
    data = load_dataset(name, root=tmp_path, download=False)
    assert data.origin == RAW[name]
    assert data.content == sources.read_published(name, tmp_path, False).content
    assert f"dataset={name}: not the published files in {RAW[name]}" in caplog.text
    path = tmp_path / RAW[name] / "t10k-labels-idx1-ubyte"
    path.write_bytes((content := path.read_bytes())[:-1] + bytes([content[-1] ^ 1]))
    assert load_dataset(name, root=tmp_path, download=False).content not in (None, data.content)


def written_as_published(root, monkeypatch, name):
    """Small files that count as the published ones, in the order of their checksums."""
    WRITERS[name](root, name)
    paths = [root / RAW[name] / f"{part}-{what}" for part in ("train", "t10k") for what in IDX_FILES]
    sums = tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    monkeypatch.setitem(PUBLISHED, name, dataclasses.replace(PUBLISHED[name], unpacked=sums))
    return paths


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("changed", [None, "images", "labels"])
def test_unpacked_files_are_known_by_the_checksums_of_all_four(tmp_path, monkeypatch, name, changed):
    paths = written_as_published(tmp_path, monkeypatch, name)
    if changed:
        path = next(path for path in paths[2:] if changed in path.name)
        path.write_bytes((content := path.read_bytes())[:-1] + bytes([content[-1] ^ 1]))
    data = load_dataset(name, root=tmp_path, download=False)
    assert (data.origin is None, data.content is None) == (not changed, not changed)


def test_a_run_on_the_published_files_does_not_go_on_with_others(tmp_path, monkeypatch):
    written_as_published(tmp_path, monkeypatch, "mnist")
    given = ("dataset=mnist", "data.download=false", f"data.root={tmp_path}", "ipc=1", "method.batch_real=2")
    run_until(2, "checkpoint.safetensors", tmp_path / "results", "dm", *given, "checkpoint_seconds=0")
    monkeypatch.undo()
    with pytest.raises(SettingError, match=r"MNIST/raw holds others than the published images, as which .* put them"):
        run_here(tmp_path / "results", "dm", *given)


def test_the_real_fashion_mnist_unpacked_counts_as_published(tmp_path):
    if not sources.DEBIAN_FASHION_MNIST.is_dir():
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    (raw := tmp_path / RAW["fashion_mnist"]).mkdir(parents=True)
    for path in sources.DEBIAN_FASHION_MNIST.glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    found = sources.read_published("fashion_mnist", tmp_path, False)
    assert (len(found.train), found.origin) == (60000, None)


def test_digits_split_is_fixed_stratified_and_disjoint_from_validation():
    data, tuning = load_dataset("digits"), load_dataset("digits", validation=0.2)
    assert (len(data.train), len(data.test)) == (1438, 359)
    assert tuning.held_out == "validation"
    assert len(tuning.train) + len(tuning.test) == 1438
    assert data.test.labels.bincount().min() >= 34


def test_a_folder_of_images_of_any_size(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(5):
            Image.new("RGB", (20 + number, 30), "red" if name == "cat" else "blue").save(
                tmp_path / name / f"{number}.png"
            )
    data = load_dataset("folder", root=tmp_path, size=16)
    assert data.classes == ("cat", "dog")
    assert data.image_shape == (3, 16, 16)
    assert (len(data.train), len(data.test)) == (8, 2)


def test_zca_equals_its_formula_and_inverts():
    pixels = torch.rand(60, 3, 4, 4)
    zca = ZCA.fit(pixels)
    flat = pixels.flatten(1).double()
    centred = flat - flat.mean(0)
    values, vectors = np.linalg.eigh((centred.T @ centred / 59).numpy())
    expected = centred.numpy() @ (vectors @ np.diag((values + 0.1) ** -0.5) @ vectors.T)
    torch.testing.assert_close(zca(pixels).flatten(1).double(), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(zca.inverse(zca(pixels)), pixels, rtol=0, atol=1e-5)


PIXELS = torch.rand(20, 3, 4, 4)
MAPS = {"normalised": Normalize(torch.full((3,), 0.5), torch.full((3,), 0.2)), "whitened": ZCA.fit(PIXELS)}


@pytest.mark.parametrize("name", MAPS)
def test_pixels_that_are_no_floats_are_refused_with_the_way_to_make_them(name):
    of_bytes = PIXELS.mul(255).byte()
    for given, kind in (
        (of_bytes, "torch.uint8"),
        (of_bytes.long(), "torch.int64"),
        (of_bytes.numpy(), "ndarray"),
        (Image.new("RGB", (4, 4)), "Image"),
    ):
        with pytest.raises(TypeError, match=rf"pixels of {kind}; give a tensor of floats in \[0, 1\].*/ 255"):
            MAPS[name](given)
    torch.testing.assert_close(MAPS[name](of_bytes.float() / 255), MAPS[name](PIXELS), rtol=0, atol=0.05)
    assert MAPS[name](PIXELS.double()).dtype == torch.float64


def test_whitening_that_cannot_fit_is_refused_before_a_picture_is_opened(tmp_path, monkeypatch):
    folder = images(tmp_path / "p")
    monkeypatch.setattr(load, "machine_memory", lambda: 24 * 10**9)
    assert load_dataset("folder", root=folder, size=8, zca=True).image_shape == (3, 8, 8)
    monkeypatch.setattr(Image, "open", None)
    words = "dataset.zca=true: needs 106.3 GB for 4 images of 3x128x128", "has 24.0 GB", "smaller dataset.size"
    refused("data", "zca", lambda: load_dataset("folder", root=folder, size=128, zca=True), *words)
    monkeypatch.setattr(load, "machine_memory", lambda: 10**5)
    refused("data", "zca of arrays", lambda: load_dataset("digits", zca=True), "images of 1x8x8", "smaller images")


def test_the_memory_of_the_machine_is_known():
    assert 10**8 < machine_memory() < 10**15


@pytest.mark.parametrize("zca", [False, True])
def test_a_synthetic_set_carries_its_preprocessing(tmp_path, zca):
    data = load_dataset("digits", zca=zca)
    synthetic = SyntheticSet.from_real(data, 2, torch.Generator().manual_seed(0))
    synthetic.syn_lr = torch.tensor(0.02)
    synthetic.save(tmp_path / "s.safetensors")
    loaded = load_synthetic(tmp_path / "s.safetensors")
    pixels = torch.rand(4, 1, 8, 8)
    assert torch.equal(loaded.images, synthetic.images)
    assert torch.equal(loaded.transform(pixels), data.preprocessing(pixels))
    assert float(loaded.syn_lr) == pytest.approx(0.02)
    export(loaded.pixels(), loaded.labels, loaded.classes, tmp_path / "pictures")
    assert len(list((tmp_path / "pictures").rglob("*.png"))) == 20
    with pytest.raises(SettingError, match="not empty"):
        export(loaded.pixels(), loaded.labels, loaded.classes, tmp_path / "pictures")


def test_a_damaged_synthetic_set_is_refused(tmp_path):
    (tmp_path / "s.safetensors").write_bytes(b"half a file")
    with pytest.raises(SettingError, match="damaged"):
        load_synthetic(tmp_path / "s.safetensors")
