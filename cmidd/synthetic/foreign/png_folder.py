"""Folders of PNGs, one subfolder per class."""

from pathlib import Path

import torch

from cmidd.data.image_files import open_picture
from cmidd.synthetic.foreign.imported import KINDS, Imported
from cmidd.utils.errors import SettingError


def read(path: Path, classes: tuple[str, ...], channels: int) -> Imported:
    """Pictures in subfolders named after the classes, or by numbers (``003``, ``003_cat``) that are the labels."""
    from torchvision.transforms.functional import pil_to_tensor

    images, labels = [], []
    for folder in sorted(child for child in path.iterdir() if child.is_dir()):
        number = folder.name.split("_")[0]
        if folder.name in classes:
            label = classes.index(folder.name)
        elif number.isdecimal() and len(number) < 10:
            label = int(number)
        else:
            raise SettingError(
                f"synthetic={path}: subfolder {folder.name!r} is no class name and starts with no label, rename it; "
                f"the classes are {', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}"
            )
        for file in sorted(folder.glob("*.png")):
            picture = open_picture(file, path, "L" if channels == 1 else "RGB", f"synthetic={path}")
            images.append(pil_to_tensor(picture) / 255)
            labels.append(label)
    if not images:
        raise SettingError(f"synthetic={path}: no <class>/<image>.png in it; give {KINDS}")
    if len({image.shape for image in images}) > 1:
        raise SettingError(f"synthetic={path}: the pictures differ in size; give pictures of one size")
    return Imported(torch.stack(images), torch.tensor(labels), "pixels")
