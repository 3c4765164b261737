"""Data sets in files of arrays: ``.npz`` and ``.safetensors`` (MedMNIST's convention), and Hugging Face's parquet.

An array file holds ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``, and may hold ``val_images``
and ``val_labels``: images uint8 ``[N, H, W]``, ``[N, H, W, C]`` or ``[N, C, H, W]`` with one or three channels, labels
``[N]`` or ``[N, 1]``. Nothing in a file is executed.
"""

import io
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cmidd.data.image_files import IMAGE_FORMATS, MOST_PIXELS
from cmidd.data.npz_files import UNREADABLE, opened_npz
from cmidd.data.published import OF_PICTURES, PUBLISHED, Published
from cmidd.data.split import Source, Split
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError, reason

SUFFIXES = (".npz", ".safetensors")
REQUIRED = ("train_images", "train_labels", "test_images", "test_labels")
OPTIONAL = ("val_images", "val_labels")
SHARD = re.compile(r"-(\d+)-of-(\d+)")  # as the hub numbers files, from 0


def read_arrays(path: Path) -> Source:
    """A file of arrays; classes are named by their numbers.

    Raises:
        SettingError: starting with ``data.root=``, when it is no such file, or damaged, or holds something else.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingError(f"data.root={path}: dataset=arrays reads one file, .npz or .safetensors; give its path")
    if not path.is_file():
        raise SettingError(f"data.root={path}: no such file; give an .npz or .safetensors file")
    if path.suffix.lower() == ".npz":
        arrays, there = _read_npz(path)
    else:
        arrays = tensor_files.read_tensors(path)[0]
        there = list(arrays)
    _refuse_missing(there, path)
    train = _split(arrays, "train", path)
    test = _split(arrays, "test", path, len(train))
    validation = _split(arrays, "val", path, len(train)) if "val_images" in arrays else None
    splits = [train, test, *([validation] if validation else [])]
    num_classes = 1 + max(int(split.labels.max()) for split in splits)
    names = tuple(str(number) for number in range(num_classes))
    return Source(train, test, names, validation=validation, origin=path.name)


def find_published(name: str, root: Path) -> Source | None:
    """A published data set that lies under ``root`` as arrays or as parquet instead of in its own files, if it does.

    Raises:
        SettingError: when a file there is damaged, or not of that data set.
    """
    known = {**PUBLISHED, **OF_PICTURES}[name]
    for suffix in SUFFIXES:
        if (path := root / f"{name}{suffix}").exists():
            return _named(name, known, read_arrays(path), path)
    if known.hub:
        below, images, labels = known.hub
        for folder in (root / name / below, root / below):
            if list(folder.glob("train-*.parquet")):
                return _named(name, known, _read_parquet(folder, images, labels, known.hub_test), folder)
    return None


def _named(name: str, known: Published, source: Source, path: Path) -> Source:
    """``source`` with the published names of its classes, when it can be that data set."""
    shape = tuple(source.train.images.shape[1:])
    if shape != known.shape or len(source.classes) != len(known.classes):
        raise SettingError(
            f"{path}: images of {list(shape)} in {len(source.classes)} classes, {name} has {list(known.shape)} in "
            f"{len(known.classes)}; rename it and use dataset=arrays data.root=<the file>, or put the published files "
            "beside"
        )
    return Source(source.train, source.test, known.classes, validation=source.validation, origin=source.origin)


def _refuse_missing(there: list[str], path: Path) -> None:
    """Refuse a file that lacks arrays, naming those that are there."""
    for name in (*REQUIRED, *(OPTIONAL if "val_images" in there else ())):
        if name not in there:
            known = " ".join(", ".join(sorted(there)).split())[:200]
            raise SettingError(
                f"data.root={path}: has no {name}, only {known or 'nothing'}; add it: a file of "
                "arrays holds train_images, train_labels, test_images and test_labels"
            )


def _split(arrays: Mapping[str, Tensor], part: str, path: Path, training: int | None = None) -> Split:
    """The split ``train``, ``test`` or ``val`` of arrays, as images ``[N, C, H, W]`` and labels ``[N]``.

    There are as many ``training`` images, and so no more classes; None: those of this split.
    """
    images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
    where = f"data.root={path}: {part}_images"
    if images.dtype != torch.uint8:
        raise SettingError(f"{where} of {str(images.dtype).removeprefix('torch.')}; give pixels as uint8, 0 to 255")
    if images.ndim == 3:
        images = images[:, None]
    channels_first, channels_last = [images.ndim == 4 and images.shape[axis] in (1, 3) for axis in (1, -1)]
    if channels_first == channels_last and images.ndim == 4 and images.shape[1:] != (1, 1, 1):
        which = "could be [N, H, W, C] as well as [N, C, H, W]" if channels_first else "have neither 1 nor 3 channels"
        raise SettingError(f"{where} {list(images.shape)} {which}; give them as [N, H, W, 3] or [N, H, W]")
    if images.ndim != 4 or not len(images):
        raise SettingError(f"{where} {list(images.shape)}; give them as [N, H, W], [N, H, W, C] or [N, C, H, W]")
    if channels_last:
        images = images.permute(0, 3, 1, 2)
    labels = _labels(labels, len(images), training or len(images), f"data.root={path}: {part}_labels")
    return Split(images.contiguous(), labels)


def _labels(labels: Tensor, count: int, most_classes: int, where: str) -> Tensor:
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise SettingError(f"{where} {list(labels.shape)}: several labels an image; give one class for each image")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise SettingError(f"{where} of {labels.dtype}; give class numbers as integers")
    if labels.ndim not in (1, 2) or labels.numel() != count:
        raise SettingError(f"{where} {list(labels.shape)} for {count} images; give one class number for each")
    labels = labels.flatten().to(torch.int64)
    if int(labels.min()) < 0 or int(labels.max()) >= most_classes:
        raise SettingError(
            f"{where} from {int(labels.min())} to {int(labels.max())}; give the classes the numbers 0, 1, 2, ..."
        )
    return labels


def _read_npz(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The arrays of an ``.npz`` that are read, and the names of all; what would have to be unpickled is refused."""
    try:
        with opened_npz(path) as file:
            wanted = [name for name in (*REQUIRED, *OPTIONAL) if name in file.files]
            return {name: torch.from_numpy(_native(file[name], name, path)) for name in wanted}, file.files
    except SettingError:
        raise
    except UNREADABLE as error:
        raise _damaged(path, error) from error


def _native(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    """In the machine's byte order; text is no array of numbers."""
    if array.dtype.kind in "SU":
        way = "give class numbers as integers, as numpy.unique(labels, return_inverse=True)[1] has them"
        raise SettingError(f"data.root={path}: {name} of text, {str(array.flatten()[:2].tolist())[:60]}; {way}")
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="), copy=False))


def _read_parquet(folder: Path, images: str, labels: str, test: str) -> Source:
    """Train and ``test`` set of a hub repository: rows with a picture ``{bytes, path}`` and a class number."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise SettingError(
            f"{folder}: parquet needs pyarrow; pip install 'cmidd[parquet]', or store the images as .npz"
        ) from error
    splits = list[Split]()
    for part in ("train", test):
        rows: list[tuple[Tensor, int]] = []
        for path in _shards(folder, part):
            try:
                table = pyarrow.parquet.read_table(path, columns=[images, labels])
                pictures, numbers = table.column(images).to_pylist(), table.column(labels).to_pylist()
                rows += [(_picture(own), int(number)) for own, number in zip(pictures, numbers, strict=True)]
            except Exception as error:  # pyarrow and Pillow raise many kinds for a damaged file.
                raise _damaged(path, error) from error
        if len({picture.shape for picture, _ in rows}) != 1:
            raise SettingError(f"{folder}: {part} pictures differ in size; use a folder of images (dataset=folder)")
        pixels = torch.stack([picture for picture, _ in rows])
        arrays = {f"{part}_images": pixels, f"{part}_labels": torch.tensor([number for _, number in rows])}
        splits.append(_split(arrays, part, folder, len(splits[0]) if splits else None))
    num_classes = 1 + max(int(split.labels.max()) for split in splits)
    names = tuple(str(number) for number in range(num_classes))
    return Source(splits[0], splits[1], names, origin=f"{folder.name}/*.parquet")


def _shards(folder: Path, part: str) -> list[Path]:
    """The files of a split, sorted; of those that are numbered, ``-<number>-of-<count>``, each is there once."""
    paths = sorted(folder.glob(f"{part}-*.parquet"))
    if not paths:
        raise SettingError(f"{folder}: has no {part}-*.parquet; put it beside the others")
    numbered: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))  # by count, then by number
    for path in paths:
        if match := SHARD.search(path.name):
            numbered[int(match[2])][int(match[1])].append(path.name)
    if len(numbered) > 1:
        first = ", ".join(sorted(min(by_number.values())[0] for by_number in numbered.values())[:5])
        raise SettingError(f"{folder}: {first} are of different downloads; remove all but those of one")
    for count, by_number in numbered.items():
        for number, names in sorted(by_number.items()):
            if number >= count:
                raise SettingError(f"{folder}: {names[0]} is none of {count} files, counted from 0; remove it")
            if names[1:]:
                raise SettingError(f"{folder}: {' and '.join(names)} are the same part; remove all but one")
        if len(by_number) < count:
            absent = next(number for number in range(count) if number not in by_number)
            raise SettingError(
                f"{folder}: has {len(by_number)} of {count} {part} files, {part}-{absent:05}-of-{count:05}.parquet is "
                "missing; put it beside the others"
            )
    return paths


def _picture(cell: Mapping[str, Any]) -> Tensor:
    """The pixels ``[H, W, C]`` of a picture in a cell of a table."""
    from PIL import Image

    with Image.open(io.BytesIO(cell["bytes"]), formats=IMAGE_FORMATS) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(f"{picture.width}x{picture.height} pixels, at most {MOST_PIXELS} are read")
        return torch.from_numpy(np.array(picture.convert("RGB")))


def _damaged(path: Path, error: BaseException) -> SettingError:
    return SettingError(
        f"{path}: cannot be read ({reason(error)}); make it again, with numbers only (no pickled objects)"
    )
