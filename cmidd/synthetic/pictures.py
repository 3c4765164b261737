"""Synthetic sets as pictures: one grid, or a folder of PNGs with ``labels.csv``."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from cmidd.data.image_files import open_picture
from cmidd.utils import files
from cmidd.utils.errors import SettingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS, HEAD = "labels.csv", ("file", "label", "class")


def grid(pixels: Tensor, labels: Tensor, names: Sequence[str], columns: int = 10) -> Image.Image:
    """One row of at most ``columns`` images per class, the class name at its left.

    Args:
        pixels: ``[N, C, H, W]`` in [0, 1], with ``labels`` ``[N]``; ``names`` are those of the labels.
    """
    picture = _rows(pixels, labels, names, columns)
    return _with_names(picture, names, height=(picture.height - 2) // len(names))


def show(pixels: Tensor, labels: Tensor, names: Sequence[str], columns: int = 10, axes: "Axes | None" = None) -> "Axes":
    """Draw :func:`grid`'s images with matplotlib, each row with its class's name at the left, as in a notebook.

    Args:
        pixels, labels, names, columns: as :func:`grid` has them.
        axes: where to draw; a figure of its own otherwise.

    Returns:
        The axes; ``axes.figure`` is the figure.
    """
    import matplotlib.pyplot as plt  # Half a second: here, where it is needed.

    picture = _rows(pixels, labels, names, columns)
    if axes is None:
        width = min(10.0, picture.width / 60)
        _, axes = plt.subplots(figsize=(width + 1, width * picture.height / picture.width), layout="constrained")
    axes.imshow(picture, interpolation="nearest")
    height = (picture.height - 2) / len(names)
    axes.set_yticks([2 + height * (row + 0.5) for row in range(len(names))], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes


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
    refuse_filled(folder)
    rows = []
    # Rounded here: torchvision would cut off what is beyond eight bits.
    eight_bits = pixels.mul(255).round().byte().cpu()
    for number, (picture, label) in enumerate(zip(eight_bits, labels.tolist(), strict=True)):
        name = f"{label:03d}_{_safe(names[label])}/{number:05d}.png"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _to_image(picture).save(path)
        rows.append((name, label, names[label]))
    with files.atomic_write(folder / LABELS) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEAD, *rows])


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder that becomes ``folder`` when all is written.

    Raises:
        SettingError: when that exists and is not empty.
    """
    folder = folder.expanduser().resolve()
    refuse_filled(folder)
    with files.atomic_folder(folder) as beside:
        yield beside


def refuse_filled(folder: Path) -> None:
    """Check that a folder is new, or empty.

    Raises:
        SettingError: when it is not.
    """
    nearest = next(above for above in folder.absolute().parents if above.exists())
    if not nearest.is_dir():
        raise SettingError(f"to={folder}: {nearest} is a file; choose a new folder")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SettingError(f"to={folder}: exists and is not empty; choose a new folder")


def read(folder: Path, names: Sequence[str], shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What :func:`export` wrote: pixels ``[N, C, H, W]`` in [0, 1] of such a ``shape``, and labels ``[N]``, in order.

    Raises:
        SettingError: naming the file that is damaged, missing, or does not fit the others.
    """
    from torchvision.transforms.functional import pil_to_tensor

    labels, pixels = _read_labels(folder, names), []
    for name in labels:
        mode = "L" if shape[0] == 1 else "RGB"
        picture = pil_to_tensor(open_picture(folder / name, folder, mode, f"synthetic={folder}"))
        if list(picture.shape) != list(shape):
            raise SettingError(f"{folder / name}: a picture {list(picture.shape)}, expected image_shape {list(shape)}")
        pixels.append(picture)
    return torch.stack(pixels).float() / 255, torch.tensor(list(labels.values()))


def _read_labels(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """The label of every picture, in the order of the set."""
    path, again = folder / LABELS, "repair it, or export the set again"
    if not path.is_file():
        raise SettingError(f"{path}: no such file; {again}")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = [*csv.reader(file)] or [[]]
    except (ValueError, csv.Error) as error:
        raise SettingError(f"{path}: not the text of a table ({error}); {again}") from error
    known = {(str(label), name) for label, name in enumerate(names)}
    for number, row in enumerate(rows, 2):
        if len(row) != len(HEAD) or tuple(row[1:]) not in known:
            raise SettingError(f"{path}: line {number}: {str(row)[:200]} is no {', '.join(HEAD)} of the set; {again}")
    named, there = [row[0] for row in rows], {png.relative_to(folder).as_posix() for png in folder.glob("*/*.png")}
    if tuple(head) != HEAD or not rows or len(set(named)) < len(named) or set(named) != there:
        odd = f", not of {min(set(named) ^ there)[:200]!r}" if set(named) != there else ""
        raise SettingError(f"{path}: expected {','.join(HEAD)} and one line for every picture{odd}; {again}")
    return {name: int(label) for name, label, _ in rows}


def _rows(pixels: Tensor, labels: Tensor, names: Sequence[str], columns: int) -> Image.Image:
    """The images, one row a class."""
    from torchvision.utils import make_grid  # torchvision imports for a second: here, where it is needed.

    pixels, labels = pixels.cpu(), labels.cpu()
    zoom = max(1, 48 // pixels.shape[-1])
    pixels = pixels.repeat_interleave(zoom, 2).repeat_interleave(zoom, 3)
    rows = [pixels[labels == label][:columns] for label in range(len(names))]
    columns = max(len(row) for row in rows)
    blank = torch.ones_like(pixels[:1])
    cells = torch.cat([torch.cat([row, blank.expand(columns - len(row), -1, -1, -1)]) for row in rows])
    return _to_image(make_grid(cells, nrow=columns, padding=2, pad_value=1))


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
