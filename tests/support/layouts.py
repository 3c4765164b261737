"""Small folders of pictures in every layout: their builders, and a table row of what a reader must make of one."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Colour = tuple[int, ...]
ANT, BEE, COW, DOG = (200, 10, 20), (30, 180, 40), (50, 60, 170), (90, 90, 10)
COLOURS = (ANT, BEE, COW, DOG)
WNIDS = ("n01440764", "n02102040", "n03000684")


@dataclass(frozen=True)
class Case:
    """A folder or file, and what must come of it.

    Attributes:
        build: makes it in an empty folder.
        root: what of it is given as ``data.root``.
        counts: for every class, in the order of labels, how many training and test images, and validation images.
        pixels: of every image of a class, at row and column, RGB; by default the class's colour in the middle.
        says: words of the line that is logged.
        refused: words of the refusal, for what must not be read.
        published: whether it is the layout of a published data set or set of images.
        near: how far a pixel may be off, for files with losses.
    """

    name: str
    build: Callable[[Path], Any]
    counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    pixels: dict[str, dict[tuple[int, int], Colour]] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    dataset: str = "folder"
    root: str = ""
    published: bool = False
    near: int = 0


def picture(path: Path, colour: Colour = ANT, size: tuple[int, int] = (8, 8)) -> Path:
    """One colour, as whatever the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def classes(folder: Path, *names: str, count: int = 2, below: str = "", suffix: str = ".png") -> Path:
    """A folder for each name with ``count`` pictures in the colour of its place; ``below`` is one more folder."""
    for colour, name in zip(COLOURS, names, strict=False):
        for number in range(count):
            picture(folder / name / below / f"{number}{suffix}", colour)
    return folder


def splits(folder: Path, *names: str, of: tuple[str, ...] = ("ant", "bee"), count: int = 2) -> Path:
    """Splits of the same classes: ``count`` pictures of a class in the first, one less in each other."""
    for number, name in enumerate(names):
        classes(folder / name, *of, count=max(1, count - number))
    return folder


def text(path: Path, content: str | bytes = "some text\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def then(*steps: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Builders one after the other in one folder."""

    def build(folder: Path) -> None:
        for step in steps:
            step(folder)

    return build


def tiny_imagenet(folder: Path, *, annotations: str | bytes | None = "good", sorted_into: str | None = None) -> None:
    """Tiny-ImageNet-200 with three classes: as it is published, or with ``val`` sorted into class folders."""
    text(folder / "wnids.txt", "".join(f"{name}\n" for name in reversed(WNIDS)))
    text(folder / "words.txt", "".join(f"{name}\ttitle{number}, other\n" for number, name in enumerate(WNIDS)))
    classes(folder / "train", *WNIDS, count=3, below="images", suffix=".JPEG")
    for name in WNIDS:
        text(folder / "train" / name / f"{name}_boxes.txt", "0.JPEG\t0\t0\t62\t62\n")
    lines = []
    for number, (name, colour) in enumerate(zip(WNIDS * 2, COLOURS[:3] * 2, strict=True)):
        where = folder / "val" / (sorted_into.format(name) if sorted_into else "images")
        picture(where / f"val_{number}.JPEG", colour)
        lines.append(f"val_{number}.JPEG\t{name}\t0\t32\t44\t62\n")
    for number in range(2):
        picture(folder / "test" / "images" / f"test_{number}.JPEG", DOG)
    if annotations is not None:
        content = "".join(lines) if annotations == "good" else annotations
        text(folder / "val" / "val_annotations.txt", content)


def annotation(change: Callable[[list[str]], Any]) -> Callable[[Path], None]:
    """The published layout with its annotations changed, line by line."""

    def build(folder: Path) -> None:
        tiny_imagenet(folder)
        path = folder / "val" / "val_annotations.txt"
        lines = path.read_text().splitlines(keepends=True)
        change(lines)
        path.write_text("".join(lines))

    return build


def mode(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    """A class ``ant`` of two pictures that ``make`` writes, given a path without suffix, and a plain class ``bee``."""

    def build(folder: Path) -> None:
        classes(folder, "ant", "bee")
        for number in range(2):
            (folder / "ant" / f"{number}.png").unlink()
            make(folder / "ant" / f"{number}")

    return build


def solid(kind: str, colour: Any, suffix: str = ".png", **options: Any) -> Callable[[Path], None]:
    """A picture of one colour in a mode of Pillow's."""
    return lambda path: Image.new(kind, (8, 8), colour).save(f"{path}{suffix}", **options)


def deep(value: float, kind: type, suffix: str) -> Callable[[Path], None]:
    """Grey of more than 8 bits."""
    return lambda path: Image.fromarray(np.full((8, 8), value, kind)).save(f"{path}{suffix}")


def deep_pgm(value: int) -> Callable[[Path], None]:
    """A PGM of 16 bits."""
    return lambda path: text(path.with_suffix(".pgm"), b"P5 8 8 65535\n" + struct.pack(">H", value) * 64)


def deep_transparent(path: Path) -> None:
    """A PNG of 16-bit grey that names one grey as transparent."""
    deep(0, np.uint16, ".png")(path)
    content, chunk = path.with_suffix(".png").read_bytes(), b"tRNS\0\0"
    at = content.index(b"IDAT") - 4
    named = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    text(path.with_suffix(".png"), content[:at] + named + content[at:])


def mpo(path: Path) -> None:
    """What some phones write: a JPEG with a second picture behind."""
    whole, preview = Image.new("RGB", (8, 8), ANT), Image.new("RGB", (8, 8), BEE)
    whole.save(f"{path}.mpo", save_all=True, append_images=[preview])
    Path(f"{path}.mpo").rename(f"{path}.jpg")


def palette(path: Path, transparency: int | None = None) -> None:
    """Indices into two colours, the first one everywhere."""
    image = Image.new("P", (8, 8), 0)
    image.putpalette([*ANT, *BEE])
    image.save(f"{path}.png", **({} if transparency is None else {"transparency": transparency}))


def frames(path: Path) -> None:
    """An animated GIF."""
    shown = []
    for colour in (ANT, BEE):
        image = Image.new("P", (8, 8), 0)
        image.putpalette(colour)
        shown.append(image)
    shown[0].save(f"{path}.gif", save_all=True, append_images=shown[1:], duration=100)


def halves(path: Path, size: tuple[int, int], orientation: int | None = None, suffix: str = ".png") -> None:
    """The upper half in ant's colour, the lower in bee's, with an EXIF orientation."""
    image = Image.new("RGB", size, ANT)
    image.paste(BEE, (0, size[1] // 2, size[0], size[1]))
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if suffix == ".jpg" else {}
    image.save(f"{path}{suffix}", exif=exif, **options)


def banded(path: Path, upright: bool = False) -> None:
    """300x200 pixels in bee's colour with 50 columns of ant's on the left and on the right; ``upright``: turned."""
    image = Image.new("RGB", (300, 200), ANT)
    image.paste(BEE, (50, 0, 250, 200))
    (image.transpose(Image.Transpose.ROTATE_90) if upright else image).save(f"{path}.png")


def arrays(name: str = "mine.npz", **changed: Any) -> Callable[[Path], None]:
    """A file of arrays as MedMNIST's: four training, two test images of two classes in their colours."""

    def build(folder: Path) -> None:
        def pixels(count: int) -> np.ndarray:
            return np.array([COLOURS[n % 2] for n in range(count)], np.uint8)[:, None, None].repeat(8, 1).repeat(8, 2)

        content = {
            f"{part}_{what}": array
            for part, count in (("train", 4), ("val", 2), ("test", 2))
            for what, array in (("images", pixels(count)), ("labels", np.arange(count)[:, None] % 2))
        }
        np.savez(folder / name, **{**content, **changed})

    return build


def hub(folder: Path) -> None:
    """CIFAR10 in parquet files as Hugging Face's hub has them, the ten classes in shades of grey."""
    import pyarrow
    import pyarrow.parquet

    (folder / "plain_text").mkdir()
    for part in ("train", "test"):
        rows = []
        for label in range(10):
            png = io.BytesIO()
            Image.new("RGB", (32, 32), (20 * label,) * 3).save(png, "PNG")
            rows.append({"img": {"bytes": png.getvalue(), "path": None}, "label": label})
        table = pyarrow.Table.from_pylist(rows)
        pyarrow.parquet.write_table(table, folder / "plain_text" / f"{part}-00000-of-00001.parquet")
