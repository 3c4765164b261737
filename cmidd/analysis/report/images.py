"""The pictures of runs as they stand in the page: small enough to mail, with what differs between two."""

import base64
import io
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from cmidd.analysis.results import Result
from cmidd.data.image_files import open_picture
from cmidd.runs.moments import moments_of
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)

ALL_BYTES = 1_000_000  # of the pictures of a page, before base64 makes them a third longer
LEAST_BYTES, MOST_BYTES = 6_000, 120_000  # of a picture, whatever the others take
LEAST_MOMENT_BYTES = 4_000  # where that is too much for all moments of all runs, fewer are shown of each
FEWEST_MOMENTS = 3
QUALITIES = (85, 70, 50)
LOSSLESS = 100
FAR = 4  # times as many bytes as a lossless picture of which the coarsest has enough


@dataclass
class Album:
    """The pictures of a page, which share its bytes: what one does not need is left for the larger ones."""

    _waiting: list[tuple[int, int, Callable[[], Image.Image]]] = field(default_factory=list)

    def add(self, load: Callable[[], Image.Image], size: int, most: int = MOST_BYTES) -> int:
        """Take in a picture that is loaded later, about ``size`` bytes and at most ``most`` then; its number."""
        self._waiting.append((size, most, load))
        return len(self._waiting) - 1

    def addresses(self) -> list[str]:
        """Every picture as a data address, in the order in which they came."""
        made, left = [""] * len(self._waiting), ALL_BYTES
        by_size = sorted(range(len(made)), key=lambda number: self._waiting[number][:2])
        for done, number in enumerate(by_size):
            _, most, load = self._waiting[number]
            share = max(LEAST_BYTES, left // (len(made) - done))
            encoded = encode(load(), min(most, share))
            left -= len(encoded)
            made[number] = "data:image/webp;base64," + base64.b64encode(encoded).decode()
        return made


def encode(picture: Image.Image, most: int) -> bytes:
    """A picture in at most ``most`` bytes: as it is, else coarser, else smaller too."""
    for quality in (LOSSLESS, *QUALITIES):
        made = _webp(picture, quality)
        if len(made) <= most:
            return made
        if len(made) > FAR * most:  # Coarser alone will not do: every try takes its time.
            break
    while (made := _webp(picture, QUALITIES[-1])) and len(made) > most and min(picture.size) > 16:
        scale = min(0.9, math.sqrt(most / len(made)))  # The bytes go with the pixels.
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return made


def picture_path(result: Result) -> Path | None:
    """The picture beside a record, of a run or of a record that is kept as evidence; None where it cannot be read."""
    path = result.path
    for picture in (path.with_name("synthetic.png"), path.with_name(path.name.replace("result.json", "png"))):
        if picture.exists():
            return picture if readable(picture) else None
    return None


def moment_paths(result: Result) -> dict[int, Path]:
    """The pictures of a run on its way, by iteration; none of a record that is kept by itself."""
    return moments_of(result.path.parent) if result.path.name == "result.json" else {}


def room_of_moments(results: Sequence[Result]) -> tuple[int, int]:
    """How many moments of a run a page shows, and in how many bytes each: all together in half of those of a page."""
    found = [len(moment_paths(result)) for result in results]
    of_each = ALL_BYTES // 2 // max(1, sum(map(bool, found)))
    count = max(FEWEST_MOMENTS, min(max(found, default=0), of_each // LEAST_MOMENT_BYTES))
    return count, max(LEAST_MOMENT_BYTES, of_each // count)


def opened(path: Path) -> Image.Image:
    """The picture in that file.

    Raises:
        SettingError: naming it, when it is damaged.
    """
    return open_picture(path, path.parent, "RGB", f"results_root: {path.parent}")


def readable(path: Path) -> bool:
    """Whether a picture is sound; one that is not is left out, and the log says so: the page is of all the others."""
    try:
        opened(path)
    except SettingError as error:
        log.warning("left out: %s", error)
        return False
    return True


def difference(one: Image.Image, other: Image.Image) -> tuple[Image.Image, float, float]:
    """Where two pictures differ, black where they do not; of what is common to both, their upper left.

    Returns:
        ``|other - one|``, how many times as bright as it is it was made, and its mean before that, of 255. So bright
        that the brightest of two hundred pixels is white: not the brightest, which may be of a title.
    """
    differing = ImageChops.difference(one, other)
    values = np.asarray(differing)
    times = 255 / max(1.0, float(np.percentile(values, 99.5)))
    return differing.point(lambda value: min(255, round(value * times))), times, float(values.mean())


def to_compare(one: Result, other: Result) -> tuple[Path, Path] | None:
    """The pictures of two runs of which a difference is of images alone: their last moments, which have no title, else
    those beside their records; None where both are missing, or not of one height.
    """
    moments = [list(moment_paths(result).values()) for result in (one, other)]
    pairs = [(moments[0][-1], moments[1][-1])] if all(moments) else []
    for first, second in [*pairs, (picture_path(one), picture_path(other))]:
        if first is None or second is None or not (readable(first) and readable(second)):
            continue
        if opened(first).height == opened(second).height:
            return first, second
    return None


def _webp(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=quality, lossless=quality == LOSSLESS, method=2)
    return file.getvalue()
