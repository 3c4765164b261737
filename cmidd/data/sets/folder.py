"""A folder of the user's own images, ``data.root=<folder>``."""

import logging
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cmidd.data.image_files import IMAGE_SUFFIXES, read_folder
from cmidd.data.split import Source, stratified_split
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)
HELD_OUT = ("test", "val", "valid", "validation")


def read(
    root: Path,
    download: bool,
    *,
    size: Annotated[int, Field(strict=True, ge=8, le=1024)] = 32,
    channels: Literal[1, 3] = 3,
) -> Source:
    """A user's images: one subfolder a class, any file size, resized to ``size`` x ``size``.

    With a subfolder ``train`` that holds folders of classes itself, that is the training set, and ``test``, or else
    ``val``, ``valid`` or ``validation``, is the test set; where there is one beside ``test``, it is the validation set.
    Otherwise a fixed stratified fifth is the test set. A folder ``train`` that holds images is a class.
    """
    if not _is_split(root / "train"):
        return _divided(root, size, channels)
    held_out = [name for name in HELD_OUT if _is_split(root / name)]
    if not held_out:
        raise SettingError(
            f"data.root={root}: has a training set in train and no {', '.join(HELD_OUT)} with the same class folders; "
            f"add one, or give data.root={root / 'train'}"
        )
    train, classes = read_folder(root / "train", size, channels)
    found = []
    for name in held_out[: 2 if held_out[0] == "test" else 1]:
        split, own = read_folder(root / name, size, channels)
        if own != classes:
            odd = sorted(set(classes) ^ set(own))
            raise SettingError(
                f"data.root={root}: train and {name} differ in class folders {', '.join(odd)}; make them alike"
            )
        found.append(split)
    log.info("trained on %s, tested on %s", root / "train", root / held_out[0])
    return Source(train, found[0], tuple(classes), validation=found[1] if found[1:] else None)


def _is_split(folder: Path) -> bool:
    """Whether a folder holds folders of classes, and no images itself."""
    if not folder.is_dir():
        return False
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return any(path.is_dir() for path in inside) and not any(path.suffix.lower() in IMAGE_SUFFIXES for path in inside)


def _divided(root: Path, size: int, channels: int) -> Source:
    """One folder of classes, a fifth of which is the test set."""
    everything, classes = read_folder(root, size, channels)
    counts = everything.labels.bincount()
    if int(counts.min()) < 2:
        name = classes[int(counts.argmin())]
        raise SettingError(
            f"data.root={root}: class {name!r} has 1 image, a train/test split needs 2; "
            "add images or make the split yourself in subfolders train and test"
        )
    log.info("%s has no folders train and test: a fixed fifth of every class is held out to test on", root)
    return Source(*stratified_split(everything, fraction=0.2), tuple(classes))
