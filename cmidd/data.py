"""A data set as tensors on the device, in the networks' input space, with class batches."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from cmidd import array_files, sources
from cmidd.errors import SettingError
from cmidd.preprocessing import ZCA, Normalize, Preprocessing
from cmidd.sources import Source, Split
from cmidd.streams import Streams

log = logging.getLogger(__name__)

StatisticsName = Literal["train", "mnist", "fashion_mnist", "svhn", "cifar10", "cifar100"]

# Channel means and standard deviations of the reference implementations (methods.md section 3).
STATISTICS: dict[str, tuple[list[float], list[float]]] = {
    "mnist": ([0.1307], [0.3081]),
    "fashion_mnist": ([0.2861], [0.3530]),
    "svhn": ([0.4377, 0.4438, 0.4728], [0.1980, 0.2010, 0.1970]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]),
    "cifar100": ([0.5071, 0.4866, 0.4409], [0.2673, 0.2564, 0.2762]),
}


def _published(name: str, root: Path, download: bool) -> Source:
    """A published data set from its own files, else from arrays or parquet under ``root``, else downloaded."""
    if not sources.has_published_files(name, root) and (found := array_files.find_published(name, root)):
        return found
    if name == "fashion_mnist":
        return sources.fashion_mnist(root, download)
    return sources.from_torchvision(name, root, download)


# Adding a data set is one line: name -> function(root, download, size, channels) -> Source.
READERS: dict[str, Callable[..., Source]] = {
    "digits": lambda **_: sources.digits(),
    "fashion_mnist": lambda root, download, **_: _published("fashion_mnist", root, download),
    "mnist": lambda root, download, **_: _published("mnist", root, download),
    "svhn": lambda root, download, **_: _published("svhn", root, download),
    "cifar10": lambda root, download, **_: _published("cifar10", root, download),
    "cifar100": lambda root, download, **_: _published("cifar100", root, download),
    "arrays": lambda root, **_: array_files.read_arrays(root),
    "folder": lambda root, size, channels, **_: sources.folder(root, size, channels),
}


@dataclass(frozen=True)
class Dataset:
    """Real training and evaluation images in network input space, ``[N, C, H, W]`` float32 on one device.

    ``held_out`` is what evaluation tests on: ``test``, or ``validation`` when a part of the training set
    was split off for tuning (the test set is then not loaded at all).

    Attributes:
        origin: the file that was read instead of the published ones, if one was.
        content: then a hash of its images and labels, for what is kept of them.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    held_out: str = "test"
    origin: str | None = None
    content: str | None = None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def device(self) -> torch.device:
        return self.train.images.device

    @cached_property
    def class_members(self) -> list[Tensor]:
        """For every class the indices of its training images, in the order of the data set."""
        labels = self.train.labels.cpu()
        return [(labels == label).nonzero().flatten() for label in range(self.num_classes)]

    def class_batches(self, size: int, generator: torch.Generator) -> Split:
        """``size`` distinct training images of every class (all of a smaller class), classes in order."""
        drawn = [members[torch.randperm(len(members), generator=generator)[:size]] for members in self.class_members]
        return self.train[torch.cat(drawn).to(self.device)]

    def distinct_class_batches(self, size: int, count: int, generator: torch.Generator) -> list[Split]:
        """``count`` of :meth:`class_batches` in which no image comes again before all of its class have come.

        Where chance alone repeats none, they are what ``count`` calls of :meth:`class_batches` give.
        """
        used = [torch.zeros(len(members), dtype=torch.int64) for members in self.class_members]
        batches = []
        for _ in range(count):
            drawn = []
            for members, times in zip(self.class_members, used, strict=True):
                order = torch.randperm(len(members), generator=generator)
                chosen = order[times[order].argsort(stable=True)[:size]]
                times[chosen] += 1
                drawn.append(members[chosen])
            batches.append(self.train[torch.cat(drawn).to(self.device)])
        return batches

    def cycled_class_batches(self, size: int, number: int, streams: Streams) -> Split:
        """Batch ``number`` of every class, when the shuffled images of a class are gone through again and again;
        what fills no batch at the end of a pass is left out (IDC).
        """
        drawn = []
        for label, members in enumerate(self.class_members):
            pass_, position = divmod(number, max(1, len(members) // size))
            order = torch.randperm(len(members), generator=streams("real_class", label, pass_))
            drawn.append(members[order[position * size : (position + 1) * size]])
        return self.train[torch.cat(drawn).to(self.device)]

    def cycled_batch(self, size: int, number: int, streams: Streams) -> Split:
        """Batch ``number`` of any classes, when the shuffled training set is gone through again and again."""
        pass_, position = divmod(number, math.ceil(len(self.train) / size))
        order = torch.randperm(len(self.train), generator=streams("real_any", pass_))
        return self.train[order[position * size : (position + 1) * size].to(self.device)]

    def check_ipc(self, ipc: int) -> None:
        """Refuse more images per class than the smallest class has.

        Raises:
            SettingError: naming the class, its size and the largest ``ipc`` that works.
        """
        sizes = [len(members) for members in self.class_members]
        smallest = min(range(len(sizes)), key=sizes.__getitem__)
        if ipc > sizes[smallest]:
            raise SettingError(
                f"ipc={ipc}: class {self.classes[smallest]!r} of {self.name} has only {sizes[smallest]} training "
                f"images; choose ipc <= {sizes[smallest]}"
            )


def load_dataset(
    name: str,
    *,
    root: str | Path = "data",
    download: bool = True,
    statistics: StatisticsName = "train",
    zca: bool = False,
    validation: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0,
    size: Annotated[int, Field(strict=True, ge=8, le=1024)] = 32,
    channels: Literal[1, 3] = 3,
    device: str | torch.device = "cpu",
    preprocessing: Preprocessing | None = None,
) -> Dataset:
    """Read a data set, preprocess it and put it on ``device``.

    Args:
        name: one of :data:`READERS`; ``folder`` is a folder of the user's images under ``root``, ``arrays`` the file
            ``root``. Another is also read from ``<root>/<name>.npz`` (:mod:`cmidd.array_files`).
        root: where the files are, or are downloaded to.
        download: fetch missing files (torchvision verifies their checksums).
        statistics: whose channel statistics normalise the images; ``train`` computes them from the
            training pixels. CIFAR100 is normalised with CIFAR10's by MTT (without ZCA) and IDC.
        zca: whiten instead of normalising.
        validation: fraction of each training class to hold out; evaluation then tests on it. A data set that has
            validation images of its own holds out these instead, whatever the fraction.
        size, channels: what images of a ``folder`` are resized and converted to.
        preprocessing: use this one (of a synthetic set) instead of making one.

    Raises:
        SettingError: when files are missing or unreadable, saying where it looked and the ways out.
    """
    if name not in READERS:
        raise SettingError(f"dataset={name}: unknown; choose one of {', '.join(sorted(READERS))}")
    log.info("reading %s", name)
    source = READERS[name](root=Path(root).expanduser(), download=download, size=size, channels=channels)
    where = f"dataset={name}, data.root={root}"
    if source.origin is not None:
        log.info("read from %s", source.origin)
    train, test = source.train, source.test
    parts = {"training": train, "test": test} | ({"validation": source.validation} if source.validation else {})
    for part, split in parts.items():
        if flaw := _flaw(split, len(source.classes)):
            raise SettingError(f"{where}: {part} set with {flaw}; put the published files there")
    for part, split in parts.items():
        shapes = [list(each.images.shape[1:]) for each in (train, split)]
        if shapes[0] != shapes[1]:
            raise SettingError(
                f"{where}: training images of {shapes[0]}, {part} images of {shapes[1]}; make them alike"
            )
    if validation > 0 and source.validation:
        test = source.validation
        log.info("dataset.validation: testing on the data set's own %d validation images", len(test))
    elif validation > 0:
        train, test = sources.stratified_split(train, validation)
        where = f"dataset.validation={validation}"
    for label, count in enumerate(train.labels.bincount(minlength=len(source.classes)).tolist()):
        if count == 0:
            raise SettingError(
                f"{where}: class {source.classes[label]!r} has no training image; add some, or choose a smaller "
                "dataset.validation"
            )
    train_pixels = _pixels(train.images)
    if preprocessing is None:
        preprocessing = ZCA.fit(train_pixels) if zca else _normalize(train_pixels, statistics)
    return Dataset(
        name=name,
        train=Split(preprocessing(train_pixels).to(device), train.labels.to(device)),
        test=Split(preprocessing(_pixels(test.images)).to(device), test.labels.to(device)),
        classes=source.classes,
        preprocessing=preprocessing,
        held_out="validation" if validation > 0 else "test",
        origin=source.origin,
        content=None if source.origin is None else source.content,
    )


def _flaw(split: Split, num_classes: int) -> str | None:
    """What is wrong with images as a reader returns them, in words."""
    images, labels = split.images, split.labels
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3) or images.numel() == 0:
        return f"images {list(images.shape)} of {images.dtype} instead of uint8 [N, 1 or 3, H, W]"
    if labels.shape != images.shape[:1]:
        return f"{len(images)} images and {labels.numel()} labels"
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        return f"labels from {int(labels.min())} to {int(labels.max())} for {num_classes} classes"
    return None


def _pixels(images: Tensor) -> Tensor:
    return images.float() / 255


def _normalize(train_pixels: Tensor, statistics: str) -> Normalize:
    if statistics == "train":
        std, mean = torch.std_mean(train_pixels, dim=(0, 2, 3), correction=0)
        return Normalize(mean, std.clamp(min=1e-3))
    mean_values, std_values = STATISTICS[statistics]
    if len(mean_values) != train_pixels.shape[1]:
        raise SettingError(
            f"dataset.statistics={statistics}: has {len(mean_values)} channel(s), the images have "
            f"{train_pixels.shape[1]}; choose statistics of as many channels, or 'train'"
        )
    return Normalize(torch.tensor(mean_values), torch.tensor(std_values))
