"""Sets of KIP and FRePo: ``.npz`` with images whitened in a way of their own."""

from pathlib import Path

from cmidd.data.whitening import Kind
from cmidd.synthetic.foreign.contents import dense_tensor, labels_of, load_arrays
from cmidd.synthetic.foreign.imported import Imported
from cmidd.utils.errors import SettingError

NAMES = {"kip": ("images", "labels"), "frepo": ("image", "label")}


def read(path: Path, kind: Kind, classes: int) -> Imported:
    """Images ``[N, H, W, C]`` with labels ``[N, classes]``: KIP's say a class, FRePo's are learned.

    Raises:
        SettingError: when it is absent, damaged or something else.
    """
    values, labels = (dense_tensor(path, value) for value in load_arrays(path, *NAMES[kind]))
    if values.ndim != 4 or labels.ndim != 2 or labels.shape[1] != classes:
        raise SettingError(
            f"synthetic={path}: expected images [N, H, W, C] and labels [N, {classes}], found {list(values.shape)} and "
            f"{list(labels.shape)}; check dataset="
        )
    hard, soft = labels_of(path, labels, classes)
    return Imported(
        images=values.permute(0, 3, 1, 2).contiguous(),
        labels=hard,
        stored_as="input",
        soft_labels=soft if kind == "frepo" else None,
        whitening=kind,
    )
