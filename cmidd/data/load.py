"""Reading a data set by its name: preprocessed, on its device."""

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from cmidd.data.colour import in_channels
from cmidd.data.dataset import Dataset
from cmidd.data.decoding import decoded
from cmidd.data.held import held, unit
from cmidd.data.image_files import Pictures
from cmidd.data.imagenet import SUBSETS
from cmidd.data.imagenet_files import read_subset
from cmidd.data.preprocessing import ZCA, Normalize, Preprocessing
from cmidd.data.published import PUBLISHED, STATISTICS
from cmidd.data.sources import read_published
from cmidd.data.split import Labelled, Source, Split, stratified_split
from cmidd.utils.checking import checked, choose, keywords, known
from cmidd.utils.errors import SettingError
from cmidd.utils.machine import machine_memory
from cmidd.utils.plugins import Plugins
from cmidd.utils.setting_types import PathText
from cmidd.utils.text import in_bytes

log = logging.getLogger(__name__)
Reader = Callable[..., Source[Any]]
"""``read(root, download, *, <its settings>)``: the pixels of a data set, or its pictures to be decoded."""

DATASETS: Plugins[Reader] = Plugins(
    "cmidd.data.sets",
    "read",
    group="cmidd.datasets",
    built_in={
        **{name: functools.partial(read_published, name) for name in PUBLISHED},
        **{name: functools.partial(read_subset, name) for name in SUBSETS},
    },
)


def _known(statistics: str) -> str:
    if statistics != "train" and statistics not in STATISTICS:
        raise ValueError(f"unknown statistics; choose train, {', '.join(STATISTICS)}")
    return statistics


@dataclass(frozen=True)
class CommonSettings:
    """The settings of every data set.

    ``statistics``: whose channel statistics normalise the images; ``train`` computes them from the training pixels.
    CIFAR100 is normalised with CIFAR10's by MTT (without ZCA) and IDC. ``zca``: whiten instead of normalising.
    ``validation``: fraction of each training class to hold out; evaluation then tests on it. A data set that has
    validation images of its own holds out these instead, whatever the fraction. ``channels``: 3 repeats a grey image, 1
    makes a colour one grey (:mod:`cmidd.data.colour`); None: as it is. ``fill``: with ``repeat`` a class that has fewer
    images than a set starts from, or a batch holds, gives some of them again.
    """

    statistics: Annotated[str, AfterValidator(_known)] = "train"
    zca: bool = False
    validation: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.0
    channels: Literal[1, 3] | None = None
    fill: Literal["none", "repeat"] = "none"


@dataclass(frozen=True)
class DataSettings:
    """Where data sets are, or are downloaded to."""

    root: PathText = "data"
    download: bool = True


def check_dataset(given: Mapping[str, Any], where: str = "dataset") -> None:
    """Check the settings of a data set: its ``name``, the common ones, and its own.

    Raises:
        SettingError: one line for the first that is unknown, of the wrong type or out of range.
    """
    reader = choose(DATASETS, given.get("name"), where)
    own = keywords(reader)
    common = {field.name for field in fields(CommonSettings)} - set(own)
    for key in given:
        known(key, {"name", *common, *own}, where)
    checked(CommonSettings, {key: given[key] for key in given if key in common}, where)
    checked(reader, {key: given[key] for key in given if key in own}, where)


def load_dataset(
    name: str,
    *,
    root: str | Path = "data",
    download: bool = True,
    device: str | torch.device = "cpu",
    preprocessing: Preprocessing | None = None,
    statistics: str = "train",
    zca: bool = False,
    validation: float = 0.0,
    fill: Literal["none", "repeat"] = "none",
    cache: Path | None = None,
    **own: Any,
) -> Dataset:
    """Read a data set, preprocess it and put it on ``device``.

    Args:
        name: one of :data:`DATASETS`; ``folder`` is a folder of the user's images under ``root``, ``arrays`` the file
            ``root``. A published one is also read from ``<root>/<name>.npz`` (:mod:`cmidd.data.array_files`).
        root: where the files are, or are downloaded to.
        download: fetch missing files (torchvision verifies their checksums).
        preprocessing: use this one (of a synthetic set) instead of making one.
        statistics: whose channel statistics normalise the images (:class:`CommonSettings`).
        zca: whiten instead of normalising.
        validation: fraction of each training class to hold out.
        fill: whether small classes give images again (:class:`CommonSettings`).
        cache: a folder where what was decoded of many pictures is kept (:func:`cmidd.data.decoding.decoded`).
        own: the data set's own settings.

    Raises:
        SettingError: when files are missing or unreadable, saying where it looked and the ways out.
    """
    reader = choose(DATASETS, name, "dataset")
    channels = None if "channels" in keywords(reader) else own.pop("channels", None)
    log.info("reading %s", name)
    found = reader(Path(root).expanduser(), download, **own)

    def decode(split: Labelled, part: str) -> Split:
        return decoded(split, cache, f"{name}_{part}") if isinstance(split, Pictures) else split.decoded()

    if not isinstance(found, Source):
        returned = type(found).__name__
        raise SettingError(f"dataset={name}: its read returned a {returned}; return a Source (cmidd.data.split)")
    if zca and preprocessing is None:
        _refuse_large_whitening(found, channels)
    source: Source = found.decoded(decode)
    where = f"dataset={name}, data.root={root}"
    if source.origin is not None:
        log.info("read from %s", source.origin)
    if source.understood is not None:
        log.info("data.root=%s is understood as: %s", root, source.understood)
    train, test = (in_channels(split, channels) for split in _checked_splits(source, validation, where))
    if preprocessing is None:
        preprocessing = (
            ZCA.fit(unit(train.images)) if zca else _normalize(train.images, statistics, repeated=channels == 3)
        )
    return Dataset(
        name=name,
        train=held(train, preprocessing, device),
        test=held(test, preprocessing, device),
        classes=source.classes,
        preprocessing=preprocessing,
        held_out="validation" if validation > 0 else "test",
        origin=source.origin,
        content=None if source.origin is None else source.content,
        fill=fill == "repeat",
        understood=source.understood,
    )


def _refuse_large_whitening(source: Source[Any], channels: int | None) -> None:
    """Refuse to whiten images for which this machine has too little memory: known before a picture is decoded."""
    train = source.train
    if isinstance(train, Pictures):
        size, smaller = train.geometry.size, "a smaller dataset.size"
        shape = (channels or train.geometry.channels, size, size)
    else:
        images, smaller = train.decoded().images, "smaller images"
        shape = (channels or images.shape[1], *images.shape[2:])
    needed, there = ZCA.bytes_to_fit(len(train), math.prod(shape)), machine_memory()
    if there is not None and needed > there:
        raise SettingError(
            f"dataset.zca=true: needs {in_bytes(needed)} for {len(train)} images of {'x'.join(map(str, shape))} (their "
            f"covariance and its eigenvectors), this machine has {in_bytes(there)}; use dataset.zca=false or {smaller}"
        )


def _checked_splits(source: Source, validation: float, where: str) -> tuple[Split, Split]:
    """The images to train and to test on."""
    train, test = source.train, source.test
    if len(source.classes) < 2:
        raise SettingError(f"{where}: found {len(source.classes)} class(es), distillation needs 2 or more; add others")
    parts = {"training": train, "test": test} | ({"validation": source.validation} if source.validation else {})
    for part, split in parts.items():
        if flaw := _flaw(split, len(source.classes)):
            raise SettingError(
                f"{where}: {part} set with {flaw}; put the published files there, or mend the read of your own"
            )
    for part, split in parts.items():
        shapes = [list(each.images.shape[1:]) for each in (train, split)]
        if shapes[0] != shapes[1]:
            raise SettingError(
                f"{where}: training images of {shapes[0]}, {part} images of {shapes[1]}; make them alike"
            )
    if (lowest := min(int(split.labels.min()) for split in parts.values())) > 0:
        raise SettingError(f"{where}: labels begin at {lowest}; give the classes the numbers 0, 1, 2, ...")
    _refuse_empty(train, source.classes, where, "; add some, or number the classes without a gap")
    if validation > 0 and source.validation:
        test = source.validation
        log.info("dataset.validation: testing on the data set's own %d validation images", len(test))
    elif validation > 0:
        train, test = stratified_split(train, validation)
        held_out = " left: of every class one at least is held out; add some, or choose a smaller one, 0 for none"
        _refuse_empty(train, source.classes, f"dataset.validation={validation}", held_out)
    return train, test


def _refuse_empty(train: Split, classes: Sequence[str], where: str, way: str) -> None:
    """Refuse a class without training images, with the ``way`` out."""
    for label, count in enumerate(train.labels.bincount(minlength=len(classes)).tolist()):
        if count == 0:
            raise SettingError(f"{where}: class {classes[label]!r} has no training image{way}")


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


def _normalize(train_pixels: Tensor, statistics: str, *, repeated: bool) -> Normalize:
    """Channel normalisation of uint8 pixels ``[N, C, H, W]``; ``repeated``: grey ones in three channels."""
    if statistics == "train":  # A channel at a time: the same bits as of all at once, in a third of the memory.
        of_channels = [
            torch.std_mean(unit(channel), dim=(0, 2, 3), correction=0) for channel in train_pixels.split(1, dim=1)
        ]
        std, mean = (torch.cat(values) for values in zip(*of_channels, strict=True))
        return Normalize(mean, std.clamp(min=1e-3))
    channels, (mean, std) = train_pixels.shape[1], map(torch.tensor, STATISTICS[statistics])
    if len(mean) == 1 and repeated:
        mean, std = mean.expand(channels), std.expand(channels)
    if len(mean) != channels:
        raise SettingError(
            f"dataset.statistics={statistics}: has {len(mean)} channel(s), the images have "
            f"{channels}; choose statistics of as many channels, or 'train'"
        )
    return Normalize(mean.clone(), std.clone())
