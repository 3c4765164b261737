"""Moments of a run: its set as small pictures from the start to the end, ten at most."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from cmidd.synthetic import pictures
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import files

T = TypeVar("T")
FOLDER = "moments"  # in that of the run
MOST = 10
SIDE = 64  # pixels of an image, at most: they are to be looked at, not trained on


class Moments:
    """Keeps ``moments/<iteration>.png``: the start, the end, and evenly spread of where the set is evaluated between.

    Which ones is known before the first iteration, so a run that was killed and goes on keeps the same.

    Args:
        folder: of the run.
        evaluated: after how many iterations its set is evaluated.
    """

    def __init__(self, folder: Path, evaluated: Sequence[int]) -> None:
        self.folder, self.planned = folder / FOLDER, spread([0, *evaluated])

    def start(self, synthetic: SyntheticSet) -> None:
        """Keep the set that the run begins with, unless an earlier start of the run did."""
        if not self._path(0).exists():
            self.keep(0, synthetic)

    def keep(self, iteration: int, synthetic: SyntheticSet) -> None:
        """Keep the set as it is, where this is one of the moments."""
        if iteration not in self.planned:
            return
        shown = synthetic.first_of_classes()
        pixels, labels = pictures.shrunk(synthetic.pixels(shown), SIDE), synthetic.labels[shown]
        picture = pictures.grid(pixels, labels, synthetic.classes[: int(labels.max()) + 1])
        with files.atomic_write(self._path(iteration)) as beside:
            picture.save(beside, format="PNG")
        there = moments_of(self.folder.parent)
        if len(there) > MOST:  # It was begun with another interval.
            for other in there.keys() - self.planned:
                there[other].unlink(missing_ok=True)

    def _path(self, iteration: int) -> Path:
        return self.folder / f"{iteration:06d}.png"


def spread(every: Sequence[T], most: int = MOST) -> list[T]:
    """At most so many of them, the first and the last included, evenly spread."""
    last, count = len(every) - 1, min(most, len(every))
    return [every[round(number * last / max(1, count - 1))] for number in range(count)]


def moments_of(folder: Path) -> dict[int, Path]:
    """The moments in a run's folder, in order; none of a run of an earlier version."""
    found = [path for path in (folder / FOLDER).glob("*.png") if re.fullmatch(r"\d{6,}", path.stem, re.ASCII)]
    return {int(path.stem): path for path in sorted(found, key=lambda path: int(path.stem))}
