"""A folder of the user's own images, ``data.root=<folder>``."""

from pathlib import Path
from typing import Literal

from cmidd.data.image_files import Fit, Geometry, Pictures
from cmidd.data.layouts import understand
from cmidd.data.split import Source, stratified_split
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Side


def read(
    root: Path,
    download: bool,
    *,
    size: Side = 32,
    channels: Literal[1, 3] = 3,
    fit: Fit = "crop",
) -> Source[Pictures]:
    """A user's images (:func:`cmidd.data.layouts.understand`), any file size, each brought to ``size`` x ``size``.

    Where nothing is held out a fixed stratified fifth is the test set. A validation set beside ``test`` is kept for
    ``dataset.validation``.

    Raises:
        SettingError: starting with ``data.root=``, when the folder's layout is none, or could mean several things.
    """
    setting, geometry, origin = f"data.root={root}", Geometry(size, channels, fit), root.resolve().name
    layout = understand(root, setting)
    read_as = layout.read_at(geometry)
    if "all" in layout.splits:
        name, count = min(layout.counts("all").items(), key=lambda item: item[1])
        if count < 2:
            raise SettingError(
                f"{setting}: class {name!r} has 1 image, a train/test split needs 2; "
                "add images or make the split yourself in subfolders train and test"
            )
        train, test = stratified_split(layout.pictures("all", geometry, setting), fraction=0.2)
        kept = f"{read_as}; a fixed fifth of every class ({len(test)} images) is held out to test on"
        return Source(train, test, layout.classes, origin=origin, understood=kept)
    pictures = {split: layout.pictures(split, geometry, setting) for split in layout.splits}
    held_out = pictures.get("validation")
    return Source(pictures["train"], pictures["test"], layout.classes, held_out, origin=origin, understood=read_as)
