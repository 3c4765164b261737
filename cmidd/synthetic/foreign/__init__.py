"""Synthetic sets of others, one reader a format: folders of PNGs, and the tensors of the reference repositories."""

from pathlib import Path

from cmidd.synthetic.foreign import dc, idc, mtt, png_folder
from cmidd.synthetic.foreign.imported import KINDS, Imported
from cmidd.utils.errors import SettingError

__all__ = ["KINDS", "Imported", "guess", "read"]


def guess(path: Path) -> tuple[str | None, str | None]:
    """Method and data set as far as the name of a reference's file tells them."""
    if path.name.startswith("images_"):
        return "mtt", None
    if path.name.startswith("data_"):
        return "idc", None
    if path.name.startswith("res_"):
        method, dataset = [*path.stem.split("_")[1:3], "", ""][:2]
        known = {"fashionmnist": "fashion_mnist"}
        return method.lower() or None, known.get(dataset.lower(), dataset.lower()) or None
    return None, None


def read(path: Path, classes: tuple[str, ...], channels: int) -> Imported:
    """Read a foreign synthetic set; nothing in the file is executed.

    Args:
        classes: the class names of the data set, by label; ``channels`` are those of its images.

    Raises:
        SettingError: when it is absent, damaged or none of the known kinds, or has labels beyond the classes.
    """
    if path.is_dir():
        found = png_folder.read(path, classes, channels)
    elif path.suffix != ".pt":
        raise SettingError(f"synthetic={path}: not a file of a known kind; give {KINDS}")
    elif path.name.startswith("images_"):
        found = mtt.read(path)
    elif path.name.startswith("res_"):
        found = dc.read(path)
    elif path.name.startswith("data_"):
        found = idc.read(path)
    else:
        raise SettingError(f"synthetic={path}: not a file of a known kind; give {KINDS}")
    if found.images.ndim != 4 or found.labels.shape != found.images.shape[:1]:
        shapes = f"{list(found.images.shape)} and {list(found.labels.shape)}"
        raise SettingError(
            f"synthetic={path}: expected images [N, C, H, W] and labels [N], found {shapes}; give {KINDS}"
        )
    beyond = found.labels[(found.labels < 0) | (found.labels >= len(classes))]
    if len(beyond):
        raise SettingError(
            f"synthetic={path}: has label {int(beyond[0])}, the data set has {len(classes)} classes; check dataset="
        )
    return found
