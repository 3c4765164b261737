"""Data sets and synthetic sets that are damaged, or not what they should be, are refused in one line."""

import gzip
import json
import math
import shutil
import struct

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from cmidd.data import sources
from cmidd.data.load import load_dataset
from cmidd.synthetic import foreign
from cmidd.synthetic.load import load_synthetic
from cmidd.utils import tensor_files
from tests.support.data_files import WRITERS, images, write_mnist
from tests.support.refusals import DEEP, NOT_JSON, TRIED, damage, put, refused, without


def image_header(*shape, kind=8):
    return bytes([0, 0, kind, len(shape)]) + np.array(shape, ">u4").tobytes()


IDX = {
    "no header": b"",
    "no gzip": None,
    "half a header": b"\0\0\x08",
    "a type of floats": image_header(2, 4, 4, kind=13) + bytes(32),
    "too few pixels": image_header(20, 28, 28) + bytes(100),
    "too many pixels": image_header(2, 4, 4) + bytes(33),
    "four billion images": image_header(2**32 - 1, 2**16, 2**16),
    "nine dimensions": image_header(*[2] * 9) + bytes(512),
}


@pytest.mark.parametrize("flaw", IDX)
def test_a_damaged_idx_file_is_named(tmp_path, monkeypatch, flaw):
    monkeypatch.setattr(sources, "DEBIAN_FASHION_MNIST", tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(b"no gzip" if IDX[flaw] is None else gzip.compress(IDX[flaw]))
    refused("idx", flaw, lambda: load_dataset("fashion_mnist", root=tmp_path / "none", download=False), path)


LABELS = {
    "label 200": bytes([200] * 20),
    "no class 3": bytes([0, 1, 2, 4, 5, 6, 7, 8, 9, 9] * 2),
    "fewer labels than images": bytes(range(10)),
}


@pytest.mark.parametrize("flaw", [*LABELS, "cut pixels", "no pixels", "test images of another size"])
def test_a_flaw_in_mnist_is_named(tmp_path, flaw):
    write_mnist(tmp_path, "mnist")
    raw = tmp_path / "MNIST" / "raw"
    if flaw in LABELS:
        content = LABELS[flaw]
        (raw / "train-labels-idx1-ubyte").write_bytes(image_header(len(content)) + content)
    elif flaw == "cut pixels":
        path = raw / "train-images-idx3-ubyte"
        path.write_bytes(path.read_bytes()[:-1])
    elif flaw == "no pixels":
        (raw / "train-images-idx3-ubyte").write_bytes(image_header(0, 28, 28))
    else:
        (raw / "t10k-images-idx3-ubyte").write_bytes(image_header(20, 4, 4) + bytes(320))
    refused("mnist", flaw, lambda: load_dataset("mnist", root=tmp_path, download=False), "dataset=mnist", tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "svhn"])
def test_files_without_their_published_checksum_are_not_opened(tmp_path, name):
    WRITERS[name](tmp_path, name)
    refused(name, "checksum", lambda: load_dataset(name, root=tmp_path, download=False), f"dataset={name}", tmp_path)


SVHN = {
    "no X": lambda x, y: {"y": y},
    "no y": lambda x, y: {"X": x},
    "labels to 40": lambda x, y: {"X": x, "y": y * 4},
    "pixels as floats": lambda x, y: {"X": x / 255, "y": y},
    "grey": lambda x, y: {"X": x[:, :, 0], "y": y},
    "fewer labels": lambda x, y: {"X": x, "y": y[:3]},
}


@pytest.mark.parametrize("flaw", [*SVHN, "cut", "empty"])
def test_a_flaw_in_svhn_is_named(tmp_path, monkeypatch, flaw):
    import torchvision

    monkeypatch.setattr(torchvision.datasets.utils, "check_md5", lambda *_, **__: True)
    WRITERS["svhn"](tmp_path, "svhn")
    path = tmp_path / "train_32x32.mat"
    if flaw in SVHN:
        x, y = np.zeros((32, 32, 3, 20), np.uint8), (np.arange(20, dtype=np.uint8) % 10 + 1)[:, None]
        scipy.io.savemat(path, SVHN[flaw](x, y))
    else:
        path.write_bytes(path.read_bytes()[: 500 if flaw == "cut" else 0])
    refused("svhn", flaw, lambda: load_dataset("svhn", root=tmp_path, download=False), "dataset=svhn", tmp_path)


def test_grey_odd_sized_and_single_images_of_a_folder_are_read(tmp_path):
    for mode, channels in (("L", 1), ("L", 3), ("RGB", 1), ("RGB", 3)):
        folder = images(tmp_path / f"{mode}{channels}", mode=mode)
        data = load_dataset("folder", root=folder, size=17, channels=channels)
        assert data.image_shape == (channels, 17, 17)
        assert data.train.images.isfinite().all()
    for part in ("train", "test"):
        images(tmp_path / "single" / part, count=1)
    data = load_dataset("folder", root=tmp_path / "single")
    assert (len(data.train), len(data.test)) == (2, 2)
    data.check_ipc(1)


def one_image(folder):
    for path in list((folder / "ant").iterdir())[1:]:
        path.unlink()


def fractions(folder):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(folder / "ant" / "0.tiff")


FOLDERS = {
    "absent": shutil.rmtree,
    "an empty class": lambda f: (f / "cow").mkdir(),
    "one class": lambda f: shutil.rmtree(f / "bee"),
    "one image in a class": one_image,
    "a cut picture": lambda f: damage(f / "ant" / "0.png", (f / "ant" / "0.png").read_bytes()[:50]),
    "text as picture": lambda f: damage(f / "ant" / "0.png", "no picture"),
    "an empty picture": lambda f: damage(f / "ant" / "0.png", ""),
    "fractions": fractions,
    "a class with a line break": lambda f: (f / "bee").rename(f / "be\ne"),
    "a class with a control sign": lambda f: (f / "bee").rename(f / "be\x07e"),
    "a class that is no text": lambda f: (f / "bee").rename(f / "be\udcffe"),
    "train and test of other classes": lambda f: (images(f / "train"), images(f / "test", classes=("ant", "cow"))),
    "a folder named as a picture": lambda f: (f / "ant" / "9.png").mkdir(),
}


@pytest.mark.parametrize("flaw", FOLDERS)
def test_a_flaw_in_a_folder_of_images_is_named(tmp_path, flaw):
    folder = images(tmp_path / "pictures")
    FOLDERS[flaw](folder)
    refused("folder", flaw, lambda: load_dataset("folder", root=folder), f"data.root={folder}")


def test_a_validation_split_that_takes_every_image_is_refused():
    refused("validation", 0.999, lambda: load_dataset("digits", validation=0.999), "dataset.validation=0.999")


SETS = {
    "no images": without("images"),
    "no labels": without("labels"),
    "no mean": without("mean"),
    "no std": without("std"),
    "no format": without("format"),
    "no classes": without("classes"),
    "another format": put("format", 2),
    "format as text": put("format", "1"),
    "classes as a number": put("classes", 5),
    "no class at all": put("classes", []),
    "fewer classes than labels": put("classes", ["a", "b"]),
    "class names as numbers": put("classes", list(range(10))),
    "an empty class name": put("classes", ["", *"123456789"]),
    "a class name with a line break": put("classes", ["a\nb", *"123456789"]),
    "a very long class name": put("classes", ["x" * 300, *"123456789"]),
    "an unknown formation": put("formation", {"factor": 2, "spin": 1}),
    "formation factor 0": put("formation", {"factor": 0}),
    "formation as text": put("formation", "2x2"),
    "images of three dimensions": put("images", torch.zeros(10, 8, 8)),
    "no image": put("images", torch.zeros(0, 1, 8, 8)),
    "fewer images than labels": put("images", torch.zeros(9, 1, 8, 8)),
    "NaN in an image": put("images", torch.full((10, 1, 8, 8), math.nan)),
    "integer images": put("images", torch.zeros(10, 1, 8, 8, dtype=torch.int64)),
    "images of 3 channels, mean of 1": put("images", torch.zeros(10, 3, 8, 8)),
    "label -1": put("labels", torch.full((10,), -1)),
    "label 10": put("labels", torch.full((10,), 10)),
    "labels as floats": put("labels", torch.zeros(10)),
    "labels of two dimensions": put("labels", torch.zeros(10, 1, dtype=torch.int64)),
    "stages from 1": put("stages", torch.ones(10, dtype=torch.int64)),
    "a negative stage": put("stages", torch.full((10,), -1)),
    "stages for others": put("stages", torch.zeros(3, dtype=torch.int64)),
    "a billion stages": put("stages", torch.tensor([0] * 9 + [10**9])),
    "std 0": put("std", torch.zeros(1)),
    "infinite mean": put("mean", torch.full((1,), math.inf)),
    "mean of other channels": put("mean", torch.zeros(3)),
    "half of a ZCA": put("zca_mean", torch.zeros(64)),
    "ZCA for other images": lambda t, a: t.update(
        {"zca_mean": torch.zeros(9), "zca_eigenvectors": torch.eye(9), "zca_eigenvalues": torch.ones(9)}
        | {"zca_eps": torch.tensor(0.1)}
    ),
    "step size 0": put("syn_lr", torch.tensor(0.0)),
    "step size NaN": put("syn_lr", torch.tensor(math.nan)),
    "negative step size": put("syn_lr", torch.tensor(-1.0)),
    "two step sizes": put("syn_lr", torch.ones(2)),
}


@pytest.mark.parametrize("flaw", SETS)
def test_a_flaw_in_a_synthetic_set_is_named(synthetic_file, tmp_path, flaw):
    tensors, about = tensor_files.read_tensors(synthetic_file)
    SETS[flaw](tensors, about)
    path = tmp_path / "s.safetensors"
    save_file(tensors, path, metadata={"about": json.dumps(about)})
    refused("synthetic", flaw, lambda: load_synthetic(path), path)


@pytest.mark.parametrize("about", [name for name, text in NOT_JSON.items() if isinstance(text, str)])
def test_a_header_that_is_no_json_is_refused(synthetic_file, tmp_path, about):
    path = tmp_path / "s.safetensors"
    save_file(load_file(synthetic_file), path, metadata={"about": NOT_JSON[about]})
    refused("synthetic", f"header {about}", lambda: load_synthetic(path), path)


def lying(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


LYING = {
    "nothing": b"",
    "a header of 2^60 bytes": struct.pack("<Q", 2**60) + b"{}",
    "a header that is none": lying(b"no json!"),
    "offsets behind the end": lying({"images": {"dtype": "F32", "shape": [10, 1, 8, 8], "data_offsets": [0, 2560]}}),
    "offsets backwards": lying({"images": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}, bytes(4)),
    "a shape of 2^62": lying({"images": {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 4]}}, bytes(4)),
    "a shape that overflows": lying({"i": {"dtype": "F32", "shape": [2**33] * 3, "data_offsets": [0, 4]}}, bytes(4)),
    "an unknown type": lying({"images": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)),
    "deep": lying(DEEP.encode()),
    "a pickle": b"\x80\x04\x95\x1b\x00\x00\x00",
}


@pytest.mark.parametrize("flaw", LYING)
def test_a_safetensors_header_that_lies_is_refused(tmp_path, flaw):
    path = tmp_path / "s.safetensors"
    path.write_bytes(LYING[flaw])
    refused("safetensors", flaw, lambda: load_synthetic(path), path)


@pytest.mark.parametrize("size", [1, 8, 100, 2000])
def test_a_truncated_set_is_refused(synthetic_file, tmp_path, size):
    path = tmp_path / "s.safetensors"
    path.write_bytes(synthetic_file.read_bytes()[:size])
    refused("safetensors", f"cut to {size}", lambda: load_synthetic(path), path)


GOOD = torch.zeros(10, 1, 8, 8), torch.arange(10)
FOREIGN = {
    "a tensor of 3 dimensions": ("images_x.pt", torch.zeros(10, 8, 8), GOOD[1]),
    "no tensor": ("images_x.pt", [1, 2], GOOD[1]),
    "labels that are none": ("images_x.pt", GOOD[0], "labels"),
    "labels of two dimensions": ("images_x.pt", GOOD[0], GOOD[1][:, None]),
    "one label": ("images_x.pt", GOOD[0], torch.tensor(3)),
    "label 10": ("images_x.pt", GOOD[0], GOOD[1] + 1),
    "label -1": ("images_x.pt", GOOD[0], GOOD[1] - 1),
    "label 1.5": ("images_x.pt", GOOD[0], GOOD[1] + 0.5),
    "NaN": ("images_x.pt", GOOD[0] + math.nan, GOOD[1]),
    "no image": ("images_x.pt", GOOD[0][:0], GOOD[1][:0]),
    "complex": ("images_x.pt", GOOD[0] + 1j, GOOD[1]),
    "sparse": ("images_x.pt", GOOD[0].to_sparse(), GOOD[1]),
    "one number as a million": ("images_x.pt", torch.zeros(1).expand(10, 1, 1000, 1000), GOOD[1]),
    "fewer labels": ("images_x.pt", GOOD[0], GOOD[1][:5]),
    "a dictionary for IDC": ("data_x.pt", {"data": 1}, None),
    "one thing for IDC": ("data_x.pt", [GOOD[0]], None),
    "empty for IDC": ("data_x.pt", [], None),
    "a list for DC": ("res_DC_x.pt", [GOOD], None),
    "no data for DC": ("res_DC_x.pt", {"accs": 1}, None),
    "empty data for DC": ("res_DC_x.pt", {"data": []}, None),
    "data as number for DC": ("res_DC_x.pt", {"data": 5}, None),
    "another name": ("some.pt", GOOD[0], None),
    "another ending": ("images_x.npy", GOOD[0], None),
}


@pytest.mark.parametrize("flaw", FOREIGN)
def test_a_flaw_in_a_foreign_set_is_named(tmp_path, flaw):
    name, value, labels = FOREIGN[flaw]
    torch.save(value, tmp_path / name)
    if labels is not None:
        torch.save(labels, tmp_path / name.replace("images", "labels"))
    refused("foreign", flaw, lambda: foreign.read(tmp_path / name, tuple("0123456789"), 1), tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04.", b"text"])
def test_a_foreign_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "data_x.pt"
    path.write_bytes(content)
    refused("foreign", content, lambda: foreign.read(path, tuple("01"), 1), path)


PICTURES = {
    "nothing in it": lambda f: shutil.rmtree(f / "0"),
    "a name that is no class": lambda f: (f / "0").rename(f / "zero"),
    "a number without end": lambda f: (f / "0").rename(f / ("9" * 50)),
    "a digit that is none": lambda f: (f / "0").rename(f / "²"),
    "label 7 of 2": lambda f: (f / "0").rename(f / "007_x"),
    "sizes that differ": lambda f: Image.new("L", (3, 3)).save(f / "0" / "1.png"),
    "a damaged picture": lambda f: damage(f / "0" / "1.png", "no"),
}


@pytest.mark.parametrize("flaw", PICTURES)
def test_a_flaw_in_a_folder_of_a_foreign_set_is_named(tmp_path, flaw):
    folder = tmp_path / "set"
    (folder / "0").mkdir(parents=True)
    Image.new("L", (8, 8)).save(folder / "0" / "0.png")
    PICTURES[flaw](folder)
    refused("foreign", flaw, lambda: foreign.read(folder, ("0", "1"), 1), folder)


def test_enough_distinct_bad_data_were_tried():
    if len(TRIED["foreign"]) == len(FOREIGN) + len(PICTURES) + 4:  # the whole file ran
        counts = {kind: len(tried) for kind, tried in TRIED.items()}
        print(counts)
        assert sum(counts.values()) >= 130
