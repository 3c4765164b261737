"""Files of data sets and pictures, as their publishers or a user would lay them out."""

import pickle

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from cmidd.data.load import load_dataset
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams

RANDOM = np.random.default_rng(0)


def write_cifar(root, name):
    folder = root / ("cifar-10-batches-py" if name == "cifar10" else "cifar-100-python")
    folder.mkdir(parents=True)
    key = "labels" if name == "cifar10" else "fine_labels"
    count = 10 if name == "cifar10" else 100
    data = RANDOM.integers(0, 256, (2 * count, 3072), dtype=np.uint8)
    content = {"data": data, key: list(range(count)) * 2}
    parts = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"] if name == "cifar10" else ["train", "test"]
    for part in parts:
        (folder / part).write_bytes(pickle.dumps(content))
    names = [f"class{i}" for i in range(count)]
    meta, meta_key = ("batches.meta", "label_names") if name == "cifar10" else ("meta", "fine_label_names")
    (folder / meta).write_bytes(pickle.dumps({meta_key: names}))
    return data[0].reshape(3, 32, 32)


def write_svhn(root, name):
    pixels = RANDOM.integers(0, 256, (32, 32, 3, 20), dtype=np.uint8)
    for part in ("train", "test"):
        scipy.io.savemat(
            root / f"{part}_32x32.mat", {"X": pixels, "y": np.arange(20, dtype=np.uint8)[:, None] % 10 + 1}
        )
    return pixels[..., 0].transpose(2, 0, 1)


def write_mnist(root, name):
    folder = root / ("MNIST" if name == "mnist" else "FashionMNIST") / "raw"
    folder.mkdir(parents=True)
    pixels = RANDOM.integers(0, 256, (20, 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        header = bytes([0, 0, 8, 3]) + np.array([20, 28, 28], ">u4").tobytes()
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = bytes([0, 0, 8, 1]) + np.array([20], ">u4").tobytes() + bytes(list(range(10)) * 2)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(labels)
    return pixels[:1]


WRITERS = {
    "cifar10": write_cifar,
    "cifar100": write_cifar,
    "svhn": write_svhn,
    "mnist": write_mnist,
    "fashion_mnist": write_mnist,
}


def images(folder, classes=("ant", "bee"), count=3, size=(17, 23), mode="RGB"):
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new(mode, size, 40 * label + number if mode == "L" else (label * 90, number, 0)).save(
                folder / name / f"{number}.png"
            )
    return folder


@pytest.fixture(scope="module")
def synthetic_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "synthetic.safetensors"
    synthetic = SyntheticSet.from_real(load_dataset("digits"), 1, Streams(0)("init"))
    synthetic.syn_lr = torch.tensor(0.01)
    synthetic.save(path)
    return path
