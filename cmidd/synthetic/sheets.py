"""Sheets of a synthetic set: all of its images with the names of their classes, on as many pictures as can be read."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cmidd.synthetic.pictures import GAP, Font, name_font, shrunk, tiled, zoomed
from cmidd.utils import files

WIDE, HIGH = 1400, 1400  # pixels of a sheet, about
ROW = 860  # pixels of the images beside each other, of one class
MANY, SMALL = 2000, 32  # images of a set from which on each is shown with so many pixels


def save_sheets(pixels: Tensor, labels: Tensor, names: Sequence[str], title: str, path: Path) -> list[Path]:
    """Write :func:`sheets` as PNGs, each whole or not at all: the first as ``path``, the others beside it, numbered.

    Returns:
        ``synthetic.png``, ``synthetic_2.png``, ``synthetic_3.png``, ...
    """
    paths = []
    for number, sheet in enumerate(sheets(pixels, labels, names, title), 1):
        paths.append(path if number == 1 else path.with_name(f"{path.stem}_{number}{path.suffix}"))
        with files.atomic_write(paths[-1]) as beside:
            sheet.save(beside, format="PNG")
    return paths


def sheets(pixels: Tensor, labels: Tensor, names: Sequence[str], title: str) -> Iterator[Image.Image]:
    """All images, class after class with its name at the left, under a ``title``; a set that does not fit on one sheet
    has its classes divided among several, and each says which it has.

    Args:
        pixels: ``[N, C, H, W]`` in [0, 1], with ``labels`` ``[N]``; ``names`` are those of the labels.
    """
    pixels, labels = pixels.cpu(), labels.cpu()
    pixels = zoomed(shrunk(pixels, SMALL) if len(pixels) > MANY else pixels)
    most = int(torch.bincount(labels, minlength=len(names)).max())
    height, width = (side + GAP for side in pixels.shape[-2:])
    rows = math.ceil(most / max(10, ROW // width))  # of one class
    columns = math.ceil(most / rows)
    font = name_font(height)
    margin = 14 + int(max(font.getlength(name) for name in names))
    beside = max(1, WIDE // (margin + columns * width))  # classes beside each other
    below = max(1, HIGH // (rows * height + GAP))
    count = math.ceil(len(names) / (beside * below))
    each = math.ceil(len(names) / count)
    for number in range(count):
        shown = range(number * each, min(len(names), (number + 1) * each))
        blocks = [_block(pixels[labels == label], names[label], font, margin, rows, columns) for label in shown]
        said = f", sheet {number + 1} of {count}: {names[shown[0]]} to {names[shown[-1]]}" if count > 1 else ""
        yield _under(title + said, _stacked(blocks, min(len(blocks), below)))


def _block(pixels: Tensor, name: str, font: Font, margin: int, rows: int, columns: int) -> Image.Image:
    """The images of one class, ``columns`` in a row, its name at the left."""
    missing = rows * columns - len(pixels)
    filled = torch.cat([pixels, pixels.new_ones(missing, *pixels.shape[1:])])
    picture = tiled(filled, columns)
    block = Image.new("RGB", (margin + picture.width, picture.height), "white")
    block.paste(picture, (margin, 0))
    middle = (picture.height // rows) // 2 + GAP // 2
    ImageDraw.Draw(block).text((margin - 6, middle), name, fill="black", anchor="rm", font=font)
    return block


def _stacked(blocks: Sequence[Image.Image], below: int) -> Image.Image:
    """Blocks of one size below each other, so many at most, and what does not fit beside those; evenly."""
    width, height = blocks[0].size
    beside = math.ceil(len(blocks) / below)
    below = math.ceil(len(blocks) / beside)
    page = Image.new("RGB", (beside * width, below * height), "white")
    for number, block in enumerate(blocks):
        page.paste(block, (number // below * width, number % below * height))
    return page


def _under(title: str, picture: Image.Image) -> Image.Image:
    """A picture with a title above."""
    font = ImageFont.load_default(15)
    width = max(picture.width, int(font.getlength(title)) + 16)
    page = Image.new("RGB", (width, picture.height + 28), "white")
    page.paste(picture, (0, 28))
    ImageDraw.Draw(page).text((8, 14), title, fill="black", anchor="lm", font=font)
    return page
