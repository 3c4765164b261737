"""The look of figures, and how they are written: PNG and PDF of one style, fonts embedded."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import FigureBase

from cmidd.utils import files

matplotlib.use("Agg")

log = logging.getLogger(__name__)
logging.getLogger("fontTools").setLevel(logging.WARNING)  # It says of every table what it leaves out of a PDF.
STYLE = "cmidd.analysis.figures.paper"  # paper.mplstyle


class Look(TypedDict):
    color: str
    linestyle: str
    marker: str


# Of the runs without CMI and of those with it: distinct in black and white as well, by dashes and markers.
LOOKS = (
    Look(color="#444444", linestyle="--", marker="o"),
    Look(color="#c1272d", linestyle="-", marker="^"),
)


@dataclass(frozen=True)
class Drawing:
    """A figure that is still to be drawn: by itself, or as a part of a larger one.

    Attributes:
        size: width and height in inches.
        draw: draws it into a figure, or a part of one.
    """

    size: tuple[float, float]
    draw: Callable[[FigureBase], None]


def save(drawing: Drawing, title: str, stem: Path) -> list[Path]:
    """Write ``<stem>.png`` and ``<stem>.pdf``, each whole or not at all."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    with plt.style.context(STYLE):
        figure = plt.figure(figsize=drawing.size)
        try:
            drawing.draw(figure)
            figure.suptitle(title)
            figure.draw_without_rendering()
            figure.set_layout_engine("none")  # It is laid out; the engine would do it again for each file, twice.
            for path in paths:
                # Without the date, the same records give the same bytes.
                about = {"CreationDate": None} if path.suffix == ".pdf" else None
                with files.atomic_write(path) as beside:
                    figure.savefig(beside, format=path.suffix[1:], metadata=about)
        finally:
            plt.close(figure)
    return paths


Maker = Callable[[], Drawing | str]
"""Makes a figure, or says what it needs."""


def make(makers: Mapping[str, Maker], title: str, folder: Path) -> tuple[dict[str, Drawing], list[Path]]:
    """Make every figure and save it under its name; one that has no data says so and the others are made.

    Returns:
        What was drawn, and where it was written.
    """
    drawn: dict[str, Drawing] = {}
    written: list[Path] = []
    for name, maker in makers.items():
        made = maker()
        if isinstance(made, str):
            log.info("%s: not drawn, it needs %s", name, made)
        else:
            drawn[name] = made
            written += save(made, title, folder / name)
    return drawn, written
