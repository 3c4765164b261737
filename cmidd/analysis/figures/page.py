"""An arrangement of all figures of one cell on one page."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import FigureBase

from cmidd.analysis.figures.style import Drawing

WIDTH, HEIGHT = 8.3, 11.3  # of A4 with its title, in inches
ROWS = (("images",), ("embeddings",), ("accuracy",), ("cmi", "weights"))


def arrangement(drawn: Mapping[str, Drawing]) -> Drawing | str:
    """What was drawn, one row below the other, each as wide as the page."""
    rows = [row for names in ROWS if (row := {name: drawn[name] for name in names if name in drawn})]
    if sum(map(len, rows)) < 2:
        return "two of the figures at least"
    heights = _heights(rows)

    def draw(figure: FigureBase) -> None:
        parts = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights, hspace=0.03)[:, 0]
        for part, row in zip(parts, rows, strict=True):
            widths = [drawing.size[0] for drawing in row.values()]
            panels = part.subfigures(1, len(row), squeeze=False, width_ratios=widths)[0]
            for panel, drawing in zip(panels, row.values(), strict=True):
                drawing.draw(panel)

    return Drawing((WIDTH, sum(heights) + 0.3), draw)


def _heights(rows: Sequence[Mapping[str, Drawing]]) -> list[float]:
    """How high every row is. That of the images follows from its width; the others give way where the page is full."""
    images = [_own(row) for row in rows if "images" in row]
    others = [_own(row) for row in rows if "images" not in row]
    shrunk = min(1.0, (HEIGHT - sum(images)) / max(1.0, sum(others)))
    return [_own(row) if "images" in row else shrunk * _own(row) for row in rows]


def _own(row: Mapping[str, Drawing]) -> float:
    """How high a row is that is no wider than the page."""
    width = sum(drawing.size[0] for drawing in row.values())
    return max(drawing.size[1] for drawing in row.values()) * min(1.0, WIDTH / width)
