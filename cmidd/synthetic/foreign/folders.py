"""Folders of pictures, one subfolder per class; those of RDED and SRe2L among them."""

import re
from pathlib import Path

import torch

from cmidd.data.image_files import open_picture
from cmidd.synthetic.foreign.imported import KINDS, Imported
from cmidd.utils.errors import SettingError

SUFFIXES = (".png", ".jpg", ".jpeg")
OF_SRE2L = re.compile(r"new(\d+)")


def read(path: Path, classes: tuple[str, ...], channels: int) -> Imported:
    """Pictures in subfolders named after the classes, or by numbers that are the labels (``003``, ``003_cat``, RDED's
    ``00003``, SRe2L's ``new003``). RDED's patches stay inside an image.

    Raises:
        SettingError: when a subfolder is no class, a picture cannot be read, or the pictures differ in size.
    """
    from torchvision.transforms.functional import pil_to_tensor

    images, labels = [], []
    for folder in sorted(child for child in path.iterdir() if child.is_dir()):
        label = _label(path, folder.name, classes)
        for file in sorted(child for child in folder.iterdir() if child.suffix.lower() in SUFFIXES):
            picture = open_picture(file, path, "L" if channels == 1 else "RGB", f"synthetic={path}")
            images.append(pil_to_tensor(picture) / 255)
            labels.append(label)
    if not images:
        raise SettingError(f"synthetic={path}: no <class>/<image>.png or .jpg in it; give {KINDS}")
    if len({image.shape for image in images}) > 1:
        raise SettingError(f"synthetic={path}: the pictures differ in size; give pictures of one size")
    return Imported(images=torch.stack(images), labels=torch.tensor(labels), stored_as="pixels")


def _label(path: Path, name: str, classes: tuple[str, ...]) -> int:
    if name in classes:
        return classes.index(name)
    number = found[1] if (found := OF_SRE2L.fullmatch(name)) else name.split("_")[0]
    if number.isdecimal() and len(number) < 10:
        return int(number)
    raise SettingError(
        f"synthetic={path}: subfolder {name!r} is no class name and starts with no label, rename it; "
        f"the classes are {', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}"
    )
