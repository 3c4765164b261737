"""The pictures of runs as they stand in the page: small enough to mail, with what differs between two."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

from cmidd.analysis.results import Result
from cmidd.data.image_files import open_picture

ALL_BYTES = 1_000_000  # of the pictures of a page, before base64 makes them a third longer
LEAST_BYTES, MOST_BYTES = 6_000, 120_000  # of a picture, whatever the others take
MOMENT_BYTES = 4_000  # of one of a run's moments; where that is too much for all, fewer are shown
FEWEST_MOMENTS = 3
QUALITIES = (85, 70, 55, 40)


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
    """A picture in at most about ``most`` bytes: as it is, else coarser, else smaller too."""
    made = _webp(picture, lossless=True)
    while len(made) > most:
        for quality in QUALITIES:
            made = _webp(picture, quality=quality)
            if len(made) <= most:
                break
        else:
            if min(picture.size) < 100:
                break
            picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)
    return made


def picture_path(result: Result) -> Path | None:
    """The picture beside a record: of a run, or of a record that is kept as evidence."""
    path = result.path
    for picture in (path.with_name("synthetic.png"), path.with_name(path.name.replace("result.json", "png"))):
        if picture.exists():
            return picture
    return None


def moment_paths(result: Result) -> dict[int, Path]:
    """The pictures of a run on its way, by iteration."""
    found = sorted(result.path.parent.glob("moments/*.png")) if result.path.name == "result.json" else []
    return {int(path.stem): path for path in found if path.stem.isdecimal()}


def most_moments(results: Sequence[Result]) -> int:
    """How many moments of a run a page shows: those of all runs take a third of the bytes at most."""
    filmed = sum(bool(moment_paths(result)) for result in results)
    return max(FEWEST_MOMENTS, ALL_BYTES // 3 // (max(1, filmed) * MOMENT_BYTES))


def opened(path: Path) -> Image.Image:
    """The picture in that file.

    Raises:
        SettingError: naming it, when it is damaged.
    """
    return open_picture(path, path.parent, "RGB", f"results_root: {path.parent}")


def difference(one: Image.Image, other: Image.Image) -> tuple[Image.Image, float, float]:
    """Where two pictures of one size differ, black where they do not.

    Returns:
        ``|other - one|``, how many times as bright as it is it was made, and its mean before that, of 255.
    """
    differing = ImageChops.difference(one, other)
    mean = sum(ImageStat.Stat(differing).mean) / len(differing.getbands())
    brightest = max(high for _, high in ImageStat.Stat(differing).extrema)
    times = 255 / brightest if brightest else 1.0
    return differing.point(lambda value: min(255, round(value * times))), times, mean


def _webp(picture: Image.Image, quality: int = 75, lossless: bool = False) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="WEBP", quality=quality, lossless=lossless, method=4)
    return file.getvalue()
