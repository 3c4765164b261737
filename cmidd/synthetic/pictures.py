"""Synthetic sets as pictures: one grid, or a folder of PNGs that any tool can read."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from cmidd.utils import files
from cmidd.utils.errors import SettingError


def grid(pixels: Tensor, labels: Tensor, names: Sequence[str], columns: int = 10) -> Image.Image:
    """One row of at most ``columns`` images per class, the class name at its left.

    Args:
        pixels: ``[N, C, H, W]`` in [0, 1], with ``labels`` ``[N]``; ``names`` are those of the labels.
    """
    from torchvision.utils import make_grid  # torchvision imports for a second: here, where it is needed.

    pixels, labels = pixels.cpu(), labels.cpu()
    zoom = max(1, 48 // pixels.shape[-1])
    pixels = pixels.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    rows = [pixels[labels == label][:columns] for label in range(len(names))]
    columns = max(len(row) for row in rows)
    blank = torch.ones_like(pixels[:1])
    cells = torch.cat([torch.cat([row, blank.expand(columns - len(row), -1, -1, -1)]) for row in rows])
    picture = _to_image(make_grid(cells, nrow=columns, padding=2, pad_value=1))
    return _with_names(picture, names, height=pixels.shape[-1] + 2)


def save_grid(pixels: Tensor, labels: Tensor, names: Sequence[str], path: Path) -> None:
    """Write :func:`grid` as PNG, whole or not at all."""
    with files.atomic_write(path) as beside:
        grid(pixels, labels, names).save(beside, format="PNG")


def export(pixels: Tensor, labels: Tensor, names: Sequence[str], folder: Path) -> None:
    """Write every image as ``<class>/<number>.png`` and ``labels.csv`` (file, label, class) into a new folder.

    Eight-bit pictures lose precision: to train on a set, load the safetensors file instead.

    Raises:
        SettingError: when the folder exists and is not empty.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SettingError(f"to={folder}: exists and is not empty; choose a new folder")
    rows = []
    for number, (picture, label) in enumerate(zip(pixels.cpu(), labels.tolist(), strict=True)):
        name = f"{label:03d}_{_safe(names[label])}/{number:05d}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _to_image(picture).save(path)
        rows.append((name, label, names[label]))
    with files.atomic_write(folder / "labels.csv") as beside, beside.open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "class"), *rows])


def _to_image(picture: Tensor) -> Image.Image:
    from torchvision.transforms.functional import to_pil_image

    image: Image.Image = to_pil_image(picture)
    return image


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_" else "-" for letter in name)[:60]


def _with_names(picture: Image.Image, names: Sequence[str], height: int) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    margin = 10 + int(max(draw.textlength(name) for name in names))
    page = Image.new("RGB", (picture.width + margin, picture.height), "white")
    page.paste(picture, (margin, 0))
    draw = ImageDraw.Draw(page)
    for row, name in enumerate(names):
        draw.text((margin - 6, 2 + row * height + height // 2), name, fill="black", anchor="rm")
    return page
