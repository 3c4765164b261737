"""A folder of the user's own images, ``data.root=<folder>``."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cmidd.data.image_files import read_folder
from cmidd.data.split import Source, stratified_split
from cmidd.utils.errors import SettingError


def read(
    root: Path,
    download: bool,
    *,
    size: Annotated[int, Field(strict=True, ge=8, le=1024)] = 32,
    channels: Literal[1, 3] = 3,
) -> Source:
    """A user's images: one subfolder a class, any file size, resized to ``size`` x ``size``.

    With subfolders ``train`` and ``test`` these are the split; otherwise a fixed stratified fifth is the
    test set.
    """
    if (root / "train").is_dir() and (root / "test").is_dir():
        train, classes = read_folder(root / "train", size, channels)
        test, test_classes = read_folder(root / "test", size, channels)
        if classes != test_classes:
            odd = sorted(set(classes) ^ set(test_classes))
            raise SettingError(
                f"data.root={root}: train and test differ in class folders {', '.join(odd)}; make them alike"
            )
    else:
        everything, classes = read_folder(root, size, channels)
        counts = everything.labels.bincount()
        if int(counts.min()) < 2:
            name = classes[int(counts.argmin())]
            raise SettingError(
                f"data.root={root}: class {name!r} has 1 image, a train/test split needs 2; "
                "add images or make the split yourself in subfolders train and test"
            )
        train, test = stratified_split(everything, fraction=0.2)
    return Source(train, test, tuple(classes))
