"""Picture files: opened without running anything, decoded to squares of pixels."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from cmidd.data.seen import Seen
from cmidd.utils.errors import SettingError

if TYPE_CHECKING:  # At once, torch would be most of the time that a process that decodes takes to start.
    from PIL import Image
    from torch import Tensor

    from cmidd.data.split import Decoded

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
# What a file holds need not be what its name says: Pillow would hand EPS to a program (Ghostscript).
IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 50_000_000  # of a picture

Fit = Literal["crop", "squash", "pad"]


@dataclass(frozen=True)
class Geometry:
    """What every picture becomes: ``channels`` x ``size`` x ``size`` pixels.

    ``fit``: what becomes of one that is not square (:func:`cmidd.data.picture_modes.squared`).
    """

    size: int
    channels: Literal[1, 3] = 3
    fit: Fit = "crop"


@dataclass(frozen=True, repr=False)
class Pictures:
    """Labelled picture files of a split that are still to be decoded.

    Attributes:
        root: the folder that they lie under, and may not link out of.
        labels: ``[N]`` int64, one for each of ``paths``.
        setting: how errors about a picture begin (``data.root=...``).
    """

    root: Path
    paths: tuple[Path, ...]
    labels: "Tensor"
    geometry: Geometry
    setting: str

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: "Tensor") -> "Pictures":
        import torch

        chosen = torch.arange(len(self))[indices]
        paths = tuple(self.paths[index] for index in chosen.tolist())
        return Pictures(self.root, paths, self.labels[chosen], self.geometry, self.setting)

    def __repr__(self) -> str:
        return f"Pictures({len(self)} of {len(self.labels.unique())} classes in {self.root}, {self.geometry})"

    def decoded(self) -> "Decoded":
        """The pixels, uint8 ``[N, C, size, size]``, one picture after the other.

        Raises:
            SettingError: for the first that :func:`read_picture` refuses.
        """
        import torch

        from cmidd.data.split import Decoded

        side = self.geometry.size
        pixels, seen = torch.empty((len(self), self.geometry.channels, side, side), dtype=torch.uint8), []
        for number, path in enumerate(self.paths):
            pixels[number], of_it = read_picture(path, self.root, self.geometry, self.setting)
            seen.append(of_it)
        return Decoded(pixels, self.labels, Seen.together(seen))


def read_picture(path: Path, root: Path, geometry: Geometry, setting: str) -> "tuple[Tensor, Seen]":
    """:func:`read_pixels` as a tensor."""
    import torch

    pixels, seen = read_pixels(path, root, geometry, setting)
    return torch.from_numpy(pixels), seen


def read_pixels(path: Path, root: Path, geometry: Geometry, setting: str) -> tuple[np.ndarray, Seen]:
    """The pixels of a picture that lies under ``root``, uint8 ``[C, size, size]``, and what was seen of it.

    Raises:
        SettingError: starting with ``setting``, when it cannot be read, unpacks to too much, or links out of ``root``.
    """
    from cmidd.data.picture_modes import squared, upright

    with _opened(path, root, setting) as picture:
        whole, done = upright(picture, geometry.channels)
        pixels = np.array(squared(whole, geometry.size, geometry.fit))
    planes = pixels.reshape(geometry.size, geometry.size, geometry.channels).transpose(2, 0, 1)
    return np.ascontiguousarray(planes), Seen(whole.size, whole.size, dict.fromkeys(done, 1))


def open_picture(path: Path, root: Path, mode: str, setting: str) -> "Image.Image":
    """A picture that lies under ``root`` with its own pixels, in Pillow's ``mode``.

    Raises:
        SettingError: as :func:`read_picture`; also for pixels of more than 8 bits.
    """
    with _opened(path, root, setting) as picture:
        if picture.mode.startswith(("I", "F")):  # Pillow would clip them to 255.
            raise ValueError(f"pixels of more than 8 bits (mode {picture.mode})")
        return picture.convert(mode)


@contextlib.contextmanager
def _opened(path: Path, root: Path, setting: str) -> Iterator["Image.Image"]:
    """A picture that is open; what is raised while it is becomes one line."""
    from PIL import Image

    there = Path(os.path.realpath(path))  # Path.resolve() would raise for a link to itself.
    if not there.is_relative_to(root.resolve()):
        raise SettingError(f"{setting}: {path} links to {there}, outside of it; put a copy into the folder")
    try:
        with warnings.catch_warnings(), Image.open(path, formats=IMAGE_FORMATS) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"{picture.width}x{picture.height} pixels, at most {MOST_PIXELS} are read")
            yield picture
    except Exception as error:  # Pillow raises many kinds for a damaged file.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SettingError(f"{setting}: cannot read {path}: {reason}; repair or remove it") from error
