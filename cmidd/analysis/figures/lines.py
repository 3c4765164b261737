"""What accuracies are compared with: random images, the whole data set, and the published values, as lines."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from cmidd.analysis.cells import BaselineCell, BaselineKey, Cell
from cmidd.analysis.figures.style import LOOKS
from cmidd.analysis.tables.table import Column, Row

LEAST_SHARE = 0.35  # of an axis, that the curves fill at least


@dataclass(frozen=True)
class Line:
    """A level of accuracy, in per cent, and what it is of."""

    label: str
    value: float
    color: str
    dashes: tuple[float, ...]

    def text(self, beyond: str = "") -> str:
        return f"{self.label}: {self.value:.1f}{beyond}"


def reference_lines(
    pair: Mapping[str, Cell],
    baselines: Mapping[BaselineKey, BaselineCell],
    layouts: Iterable[tuple[Sequence[Column], Sequence[Row]]],
) -> list[Line]:
    """Those that there are for a pair of cells, without and with CMI.

    Args:
        baselines: measured alone, for what the runs did not measure.
        layouts: tables with published values, of which the first that has one counts.
    """
    measured: dict[str, Sequence[float]] = {}
    for result in (result for cell in pair.values() for result in cell.results):
        for kind, values in (result.record.baselines or {}).items():
            measured.setdefault(kind, values)
        own: dict[str, BaselineKey] = {
            "random": ("random", result.method, result.dataset, result.ipc),
            "whole": ("whole", None, result.dataset, None),
        }
        measured.update({kind: baselines[key].accuracies for kind, key in own.items() if key in baselines} | measured)
    names = {"random": ("random images", "#1b7837", (1, 1.5)), "whole": ("whole data set", "#2166ac", (6, 2, 1, 2))}
    lines = [
        Line(f"{name} (n={len(measured[kind])})", statistics.fmean(measured[kind]), color, dashes)
        for kind, (name, color, dashes) in names.items()
        if kind in measured
    ]
    tables = list(layouts)
    for (title, cell), look in zip(pair.items(), LOOKS, strict=False):
        first, with_cmi = cell.results[0], look is LOOKS[1]
        if (value := published(tables, first.system, first.dataset, first.ipc, with_cmi=with_cmi)) is not None:
            lines.append(Line(f"{title.partition(' (')[0]}, published", value, look["color"], (1, 4)))
    return lines


def published(
    layouts: Iterable[tuple[Sequence[Column], Sequence[Row]]], system: str, dataset: str, ipc: int, *, with_cmi: bool
) -> float | None:
    """The first published accuracy for a cell, in per cent; None where there is none."""
    for columns, rows in layouts:
        for row in rows:
            if row.system == system and row.with_cmi == with_cmi:
                for column, value in zip(columns, row.published, strict=True):
                    if value is not None and (column.dataset, column.ipc) == (dataset, ipc):
                        return value[0]
    return None


def draw_lines(axes: Sequence[Axes], lines: Sequence[Line]) -> None:
    """Draw the lines behind what the axes, of one scale, show; those so far away that the curves would be flat are
    named in the legend only, with where they are.
    """
    low, high = axes[0].get_ylim()
    room = (high - low) / LEAST_SHARE
    for line in sorted(lines, key=lambda line: max(low - line.value, line.value - high)):
        bottom, top = min(low, line.value), max(high, line.value)
        fits = top - bottom <= room
        if fits:
            low, high = bottom, top
        beyond = "" if fits else ", above" if line.value > high else ", below"
        for axis in axes:
            at = line.value if fits else float("nan")
            axis.axhline(at, color=line.color, linewidth=1.2, dashes=line.dashes, zorder=1, label=line.text(beyond))
    border = 0.04 * (high - low)
    axes[0].set_ylim(low - border, high + border)
