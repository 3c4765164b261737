"""Images of the user's own: pictures in folders, one folder a class."""

import warnings
from pathlib import Path

import torch
from PIL import Image

from cmidd.data.split import Split
from cmidd.utils.errors import SettingError

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
# What a file holds need not be what its name says: Pillow would hand EPS to a program (Ghostscript).
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 50_000_000  # of a picture


def read_folder(root: Path, size: int, channels: int) -> tuple[Split, list[str]]:
    from PIL import Image
    from torchvision.transforms.functional import pil_to_tensor

    setting = f"data.root={root}"
    if not root.is_dir():
        raise SettingError(f"data.root={root}: no such folder; give a folder with one subfolder of images per class")
    classes = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if len(classes) < 2:
        raise SettingError(
            f"data.root={root}: found {len(classes)} class folder(s), distillation needs 2 or more; "
            "expected <data.root>/<class>/<image>"
        )
    for name in classes:
        if not name.isprintable() or len(name) > 200:
            raise SettingError(f"{setting}: class folder {name!r} is not named by 1 to 200 letters; rename it")
    images, labels = [], []
    for label, name in enumerate(classes):
        paths = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise SettingError(f"data.root={root}: class folder {name!r} holds no image; fill it or remove it")
        for path in paths:
            pixels = read_picture(path, root, "L" if channels == 1 else "RGB", setting)
            images.append(pil_to_tensor(pixels.resize((size, size), Image.Resampling.BICUBIC)))
            labels.append(label)
    return Split(torch.stack(images), torch.tensor(labels)), classes


def read_picture(path: Path, root: Path, mode: str, setting: str) -> "Image.Image":
    """A picture that lies under ``root``, converted to Pillow's ``mode``.

    Raises:
        SettingError: starting with ``setting``, when it cannot be read, unpacks to too much, or links out of ``root``.
    """
    from PIL import Image

    if not path.resolve().is_relative_to(root.resolve()):
        raise SettingError(f"{setting}: {path} links to {path.resolve()}, outside of it; put a copy into the folder")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=IMAGE_FORMATS) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width}x{picture.height} pixels, at most {MOST_PIXELS} are read")
            if picture.mode.startswith(("I", "F")):  # Pillow would clip them to 255.
                raise ValueError(f"pixels of more than 8 bits (mode {picture.mode})")
            return picture.convert(mode)
    except Exception as error:  # Pillow raises many kinds for a damaged file.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{setting}: cannot read {path}: {reason}; repair or remove it") from error
