"""Where real images come from: scikit-learn's digits, torchvision's data sets, or the user's own folder."""

import contextlib
import gzip
import hashlib
import math
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cmidd import files
from cmidd.errors import SettingError

if TYPE_CHECKING:
    from PIL import Image

# Where Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
# What a file holds need not be what its name says: Pillow would hand EPS to a program (Ghostscript).
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 50_000_000  # of a picture
MOST_BYTES = 2**31  # of a data set's file
# Where torchvision's data sets lie under data.root.
PUBLISHED_FILES = {
    "mnist": "MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
    "fashion_mnist": "FashionMNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte",
    "cifar10": "cifar-10-batches-py/",
    "cifar100": "cifar-100-python/",
    "svhn": "{train,test}_32x32.mat",
}


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
    """Raw pixels (uint8) of a data set as it is published, with the names of its classes.

    Attributes:
        validation: images that the data set itself sets aside for tuning, where it does.
        origin: the file that was read, for what did not come from the published files: its content can be any.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    validation: Split | None = None
    origin: str | None = None

    @cached_property
    def content(self) -> str:
        """A hash of all images and labels."""
        digest = hashlib.sha256()
        for split in (self.train, self.test, self.validation):
            if split is not None:
                digest.update(repr((list(split.images.shape), split.labels.dtype)).encode())
                for tensor in (split.images, split.labels):
                    digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


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
    try:
        with _alone(root / name, download):
            train, test = makers[name](True), makers[name](False)
            splits = _split_of(train), _split_of(test)
    except Exception as error:  # torchvision raises whatever a damaged file leads to.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SettingError(
            f"dataset={name}: looked for {PUBLISHED_FILES[name]} in {root.resolve()} (data.root), not usable: {reason} "
            "-- either run once with a network and data.download=true, or put the published files there"
            f", or {name}.npz with train_images, train_labels, test_images and test_labels"
            + (", or apt-get install dataset-fashion-mnist" if name == "fashion_mnist" else "")
        ) from error
    names = getattr(train, "classes", None) or [str(i) for i in range(10)]
    return Source(*splits, tuple(names))


def has_published_files(name: str, root: Path) -> bool:
    """Whether torchvision's files of a data set, or some of them, are in ``root``."""
    if name == "svhn":
        return any((root / f"{part}_32x32.mat").exists() for part in ("train", "test"))
    return (root / PUBLISHED_FILES[name].split("{")[0]).is_dir()


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
            raise SettingError(
                f"data.root={root}: train and test differ in class folders {', '.join(odd)}; make them alike"
            )
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
    """A gzipped idx file of unsigned bytes: magic, one big-endian length per dimension, the bytes.

    Raises:
        SettingError: when it is damaged; no more is unpacked than its header announces.
    """
    try:
        with gzip.open(path) as file:
            magic = file.read(4)
            if magic[:3] != bytes([0, 0, 8]) or magic[3:] not in (b"\1", b"\3"):
                raise ValueError("no idx file of bytes")
            shape = np.frombuffer(file.read(4 * magic[3]), ">u4", count=magic[3]).astype(int).tolist()
            count = math.prod(shape)
            content = file.read(count + 1) if count <= MOST_BYTES else b""
            if len(content) != count:
                raise ValueError(f"announces {shape}, and does not hold that")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise SettingError(f"{path}: damaged ({error}); apt-get install --reinstall dataset-fashion-mnist") from error
    return torch.tensor(np.frombuffer(content, np.uint8).reshape(shape))


def _read_folder(root: Path, size: int, channels: int) -> tuple[Split, list[str]]:
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    setting = f"data.root={root}"
    if not root.is_dir():
        raise SettingError(f"data.root={root}: no such folder; give a folder with one subfolder of images per class")
    classes = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise SettingError(
            f"data.root={root}: found {len(classes)} class folder(s), distillation needs 2 or more; "
            "expected <data.root>/<class>/<image>"
        )
    for name in classes:
        if not name.isprintable() or len(name) > 200:
            raise SettingError(f"{setting}: class folder {name!r} is not named by 1 to 200 letters; rename it")
    images, labels = [], []
    for label, name in enumerate(classes):
        paths = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise SettingError(f"data.root={root}: class folder {name!r} holds no image; fill it or remove it")
        for path in paths:
            pixels = read_picture(path, root, "L" if channels == 1 else "RGB", setting)
            images.append(pil_to_tensor(pixels.resize((size, size), Image.Resampling.BICUBIC)))
            labels.append(label)
    return Split(torch.stack(images), torch.tensor(labels)), classes


def read_picture(path: Path, root: Path, mode: str, setting: str) -> "Image.Image":
    """A picture that lies under ``root``, converted to Pillow's ``mode``.

    Raises:
        SettingError: starting with ``setting``, when it cannot be read, unpacks to too much, or links out of ``root``.
    """
    from PIL import Image

    if not path.resolve().is_relative_to(root.resolve()):
        raise SettingError(f"{setting}: {path} links to {path.resolve()}, outside of it; put a copy into the folder")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=IMAGE_FORMATS) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width}x{picture.height} pixels, at most {MOST_PIXELS} are read")
            if picture.mode.startswith(("I", "F")):  # Pillow would clip them to 255.
                raise ValueError(f"pixels of more than 8 bits (mode {picture.mode})")
            return picture.convert(mode)
    except Exception as error:  # Pillow raises many kinds for a damaged file.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{setting}: cannot read {path}: {reason}; repair or remove it") from error
