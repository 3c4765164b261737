"""Tiny-ImageNet: its folders, original or repacked, ``tinyimagenet.pt``, a file of arrays, or the hub's parquet."""

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmidd.data.array_files import find_published
from cmidd.data.image_files import Fit, Geometry, Pictures
from cmidd.data.imagenet import TINY
from cmidd.data.layouts import understand
from cmidd.data.split import MOST_BYTES, Source, Split
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Side

NAME = "tiny_imagenet"
FOLDERS = ("tiny-imagenet-200", "tinyimagenet", NAME)
ONE_FILE = "tinyimagenet.pt"  # DatasetCondensation/utils.py:74-94; IDM, DataDAM and DREAM read the same
EXPECTED = "train/<WNID>/images/*.JPEG and val/images/*.JPEG with val/val_annotations.txt, or {train,val}/<WNID>/*.JPEG"


def read(root: Path, download: bool, *, size: Side = 64, fit: Fit = "squash") -> Source[Split] | Source[Pictures]:
    """The 200 classes, sorted by WNID; the 50 validation pictures of a class are the test set.

    Args:
        size: pixels a side; they are 64 in the files.
        fit: of pictures that are not square; MTT squashes (mtt-distillation/utils.py:72-79).

    Raises:
        SettingError: with the expected tree, when none of them is there, or one is damaged or of another data set.
    """
    for place in (root, *(root / name for name in FOLDERS)):
        if any((place / "train" / wnid).is_dir() for wnid in TINY):
            return _of_folders(place, Geometry(size, 3, fit))
    path = root if root.name == ONE_FILE else root / ONE_FILE
    source = _of_one_file(path) if path.is_file() else find_published(NAME, root)
    if source is None:
        places = f"{{{', '.join(['.', *FOLDERS])}}}"
        raise SettingError(
            f"dataset={NAME}, data.root={root}: looked for {places} there; put {EXPECTED} into {root / FOLDERS[0]}, or "
            f"{ONE_FILE}, or {NAME}.npz with train_images, train_labels, test_images and test_labels, into {root}"
        )
    if (side := source.train.images.shape[-1]) != size:
        raise SettingError(f"dataset.size={size}: {source.origin} has {side} pixels a side; set it to {side}")
    return source


def _of_folders(root: Path, geometry: Geometry) -> Source[Pictures]:
    setting = f"dataset={NAME}, data.root={root}"
    layout = understand(root, setting)
    if odd := sorted(set(layout.classes) ^ set(TINY)):
        what = (
            "is none of its classes, remove it" if odd[0] in layout.classes else f"is missing, put it there: {EXPECTED}"
        )
        raise SettingError(f"{setting}: {len(layout.classes)} class folders instead of 200; {odd[0]} {what}")
    if "test" not in layout.splits:
        raise SettingError(f"{setting}: has no validation set; put there {EXPECTED}")
    train, test = (layout.pictures(split, geometry, setting, TINY) for split in ("train", "test"))
    origin = f"{root.name}/{{train,{layout.folders['test'].name}}}"
    return Source(train, test, TINY, origin=origin, understood=layout.read_at(geometry))


def _of_one_file(path: Path) -> Source[Split]:
    """``tinyimagenet.pt``; nothing in it is executed. Labels are counted by the names in it, where these are WNIDs."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"larger than {MOST_BYTES} bytes")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        classes = [str(name) for name in content["classes"]]
        train, test = (_split(content, part, len(classes)) for part in ("train", "val"))
    except Exception as error:  # torch raises many kinds for a damaged or unsafe file.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise SettingError(
            f"{path}: cannot be read as Tiny-ImageNet ({reason}); expected a dictionary of classes, images_train, "
            "labels_train, images_val and labels_val, make it again"
        ) from error
    if sorted(classes) != list(TINY):  # Names of its own stay: which WNIDs they are would be guessed.
        if len(set(classes)) != len(TINY):
            raise SettingError(f"{path}: {len(set(classes))} classes, {NAME} has {len(TINY)}; give another file")
        return Source(train, test, tuple(classes), origin=path.name)
    number = torch.tensor([TINY.index(name) for name in classes])
    train, test = (Split(split.images, number[split.labels]) for split in (train, test))
    return Source(train, test, TINY, origin=path.name)


def _split(content: dict[str, Any], part: str, num_classes: int) -> Split:
    images, labels = content[f"images_{part}"], torch.as_tensor(content[f"labels_{part}"], dtype=torch.int64)
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images_{part} is no uint8 tensor [N, 3, H, W]")
    if images.numel() > images.untyped_storage().nbytes():  # A tensor may repeat few stored numbers without end.
        raise ValueError(f"images_{part} stores fewer numbers than its shape {list(images.shape)} has")
    if labels.shape != images.shape[:1] or int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        raise ValueError(f"labels_{part} {list(labels.shape)} for {len(images)} images of {num_classes} classes")
    return Split(images, labels)
