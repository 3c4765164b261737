"""Where real images come from: scikit-learn's digits, torchvision's data sets, or the user's own folder."""

import contextlib
import gzip
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor

from cmidd import files
from cmidd.errors import SettingError

# Where Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


@dataclass(frozen=True)
class Split:
    """Labelled images: ``images`` ``[N, C, H, W]`` (uint8 pixels or float network input), ``labels`` ``[N]``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> "Split":
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Source:
    """Raw pixels (uint8) of a data set as it is published, with the names of its classes."""

    train: Split
    test: Split
    classes: tuple[str, ...]


def digits() -> Source:
    """The 1,797 digits of 8x8 pixels inside scikit-learn; a fixed stratified fifth (360) is the test set."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # The pixels are counts from 0 to 16.
    pixels = torch.tensor(np.round(bunch.images * (255 / 16)).astype(np.uint8))[:, None]
    everything = Split(pixels, torch.tensor(bunch.target, dtype=torch.int64))
    train, test = stratified_split(everything, fraction=0.2)
    return Source(train, test, tuple(str(name) for name in bunch.target_names))


def from_torchvision(name: str, root: Path, download: bool) -> Source:
    """One of torchvision's own classes, downloaded with checksum when ``download`` and not yet in ``root``."""
    import torchvision.datasets as tv

    makers: dict[str, Callable[[bool], object]] = {
        "mnist": lambda train: tv.MNIST(root, train=train, download=download),
        "fashion_mnist": lambda train: tv.FashionMNIST(root, train=train, download=download),
        "cifar10": lambda train: tv.CIFAR10(root, train=train, download=download),
        "cifar100": lambda train: tv.CIFAR100(root, train=train, download=download),
        "svhn": lambda train: tv.SVHN(root, split="train" if train else "test", download=download),
    }
    expected = {
        "mnist": "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
        "fashion_mnist": "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
        "cifar10": "cifar-10-batches-py/",
        "cifar100": "cifar-100-python/",
        "svhn": "{train,test}_32x32.mat",
    }
    try:
        with _alone(root / name, download):
            train, test = makers[name](True), makers[name](False)
    except (RuntimeError, URLError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise SettingError(
            f"dataset={name}: looked for {expected[name]} in {root.resolve()} (data.root), not usable: {reason} "
            "-- either run once with a network and data.download=true, or put the published files there"
            + (", or apt-get install dataset-fashion-mnist" if name == "fashion_mnist" else "")
        ) from error
    names = getattr(train, "classes", None) or [str(i) for i in range(10)]
    return Source(_split_of(train), _split_of(test), tuple(names))


@contextlib.contextmanager
def _alone(path: Path, download: bool) -> Iterator[None]:
    """One process at a time: torchvision writes a download straight into its place, where others would read a part."""
    if download:
        path.parent.mkdir(parents=True, exist_ok=True)
    writable = download and os.access(path.parent, os.W_OK)
    with files.claimed(path, wait=True) if writable else contextlib.nullcontext():
        yield


def fashion_mnist(root: Path, download: bool) -> Source:
    """Fashion-MNIST from ``root``, else from Debian's package, else downloaded."""
    from torchvision.datasets import FashionMNIST

    if not (root / "FashionMNIST" / "raw").is_dir() and DEBIAN_FASHION_MNIST.is_dir():
        parts = {
            part: Split(
                _read_idx(DEBIAN_FASHION_MNIST / f"{prefix}-images-idx3-ubyte.gz")[:, None],
                _read_idx(DEBIAN_FASHION_MNIST / f"{prefix}-labels-idx1-ubyte.gz").long(),
            )
            for part, prefix in {"train": "train", "test": "t10k"}.items()
        }
        return Source(parts["train"], parts["test"], tuple(FashionMNIST.classes))
    return from_torchvision("fashion_mnist", root, download)


def folder(root: Path, size: int, channels: int) -> Source:
    """A user's images: one subfolder a class, any file size, resized to ``size`` x ``size``.

    With subfolders ``train`` and ``test`` these are the split; otherwise a fixed stratified fifth is the
    test set.
    """
    if (root / "train").is_dir() and (root / "test").is_dir():
        train, classes = _read_folder(root / "train", size, channels)
        test, test_classes = _read_folder(root / "test", size, channels)
        if classes != test_classes:
            odd = sorted(set(classes) ^ set(test_classes))
            raise SettingError(f"data.root={root}: train and test differ in their class folders: {', '.join(odd)}")
    else:
        everything, classes = _read_folder(root, size, channels)
        counts = everything.labels.bincount()
        if int(counts.min()) < 2:
            name = classes[int(counts.argmin())]
            raise SettingError(
                f"data.root={root}: class {name!r} has 1 image, a train/test split needs 2; "
                "add images or make the split yourself in subfolders train and test"
            )
        train, test = stratified_split(everything, fraction=0.2)
    return Source(train, test, tuple(classes))


def stratified_split(split: Split, fraction: float, seed: int = 0) -> tuple[Split, Split]:
    """Two disjoint parts, the second with ``fraction`` of every class (at least one image of each)."""
    generator = torch.Generator().manual_seed(seed)
    held_out = []
    for label in split.labels.unique():
        members = (split.labels == label).nonzero().flatten()
        count = max(1, math.floor(fraction * len(members) + 0.5))
        held_out.append(members[torch.randperm(len(members), generator=generator)[:count]])
    mask = torch.zeros(len(split), dtype=torch.bool)
    mask[torch.cat(held_out)] = True
    return split[~mask], split[mask]


def _split_of(dataset: object) -> Split:
    """The tensors inside a torchvision data set; they differ in layout and in the name of the labels."""
    data = torch.as_tensor(dataset.data)  # type: ignore[attr-defined]
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets  # type: ignore[attr-defined]
    if data.ndim == 3:  # MNIST: [N, H, W]
        data = data[:, None]
    elif data.shape[-1] == 3:  # CIFAR: [N, H, W, C]; SVHN is [N, C, H, W] already
        data = data.permute(0, 3, 1, 2)
    return Split(data.contiguous(), torch.as_tensor(labels, dtype=torch.int64))


def _read_idx(path: Path) -> Tensor:
    """A gzipped idx file of unsigned bytes: magic, one big-endian length per dimension, the bytes."""
    content = gzip.decompress(path.read_bytes())
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", count=ndim, offset=4).astype(int)
    return torch.tensor(np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape))


def _read_folder(root: Path, size: int, channels: int) -> tuple[Split, list[str]]:
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    if not root.is_dir():
        raise SettingError(f"data.root={root}: no such folder; give a folder with one subfolder of images per class")
    classes = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise SettingError(
            f"data.root={root}: found {len(classes)} class folder(s), distillation needs 2 or more; "
            "expected <data.root>/<class>/<image>"
        )
    images, labels = [], []
    for label, name in enumerate(classes):
        paths = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise SettingError(f"data.root={root}: class folder {name!r} holds no image; fill it or remove it")
        for path in paths:
            try:
                with Image.open(path) as picture:
                    pixels = picture.convert("L" if channels == 1 else "RGB").resize(
                        (size, size), Image.Resampling.BICUBIC
                    )
            except OSError as error:
                raise SettingError(f"data.root={root}: cannot read {path}: {error}; repair or remove it") from error
            images.append(pil_to_tensor(pixels))
            labels.append(label)
    return Split(torch.stack(images), torch.tensor(labels)), classes
