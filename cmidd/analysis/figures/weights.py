"""Accuracy over the ratio or the weight of CMI."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import NullFormatter, NullLocator

from cmidd.analysis.cells import Cell
from cmidd.analysis.figures.lines import Line, draw_lines
from cmidd.analysis.figures.style import LOOKS, Drawing
from cmidd.runs.identity import BASELINE, setting_of

LEAST = 3  # strengths above 0, below which a line between them says nothing
NAMES = {"ratio": "cmi.ratio: gradient of CMI to that of the loss", "lambda": "weight of CMI, cmi.lambda"}


def weights(by_strength: Mapping[str, Cell], lines: Sequence[Line] = ()) -> Drawing | str:
    """Accuracy against the ratio of CMI, and against its weight, where there are three of a kind; the baseline is the
    dashed line with its band.

    Args:
        by_strength: by :func:`cmidd.runs.identity.strength`.
    """
    found = {setting: _of_setting(setting, by_strength) for setting in NAMES}
    drawn = {kind: cells for kind, cells in found.items() if len(cells) >= LEAST}
    if not drawn:
        there = ", ".join(f"{len(cells)} of cmi.{kind}" for kind, cells in found.items())
        return f"three strengths of CMI, there are {there}: distill with -m cmi.ratio=0.1,0.3,1"
    base = by_strength.get(BASELINE)

    def draw(figure: FigureBase) -> None:
        axes = figure.subplots(1, len(drawn), squeeze=False, sharey=True)[0]
        for axis, (kind, cells) in zip(axes, drawn.items(), strict=True):
            _panel(axis, cells, base)
            axis.set_xlabel(NAMES[kind])
        draw_lines(axes, lines)
        axes[0].set_ylabel("test accuracy, per cent\nmean ± standard deviation")
        handles, labels = axes[0].get_legend_handles_labels()
        first = labels.index(next(label for label in labels if label.startswith("with CMI")))
        order = [first, *(at for at in range(len(labels)) if at != first)]
        handles, labels = [handles[at] for at in order], [labels[at] for at in order]
        figure.legend(handles, labels, loc="outside lower center", ncols=len(drawn))

    return Drawing((3.6 * len(drawn), 3.8), draw)


def enough(by_strength: Mapping[str, Cell]) -> dict[str, Cell]:
    """The baseline, and the cells of each setting that has as many strengths as a line takes."""
    counts = {setting: len(_of_setting(setting, by_strength)) for setting in NAMES}
    return {
        name: cell for name, cell in by_strength.items() if name == BASELINE or counts[setting_of(name)[0]] >= LEAST
    }


def _of_setting(setting: str, by_strength: Mapping[str, Cell]) -> dict[float, Cell]:
    """The cells whose strength of CMI is given by that setting and above 0, by its value."""
    own = {float(setting_of(each)[1]): cell for each, cell in by_strength.items() if setting_of(each)[0] == setting}
    return {value: own[value] for value in sorted(own) if value > 0}


def _panel(axis: Axes, cells: Mapping[float, Cell], base: Cell | None) -> None:
    if base is not None:
        look = LOOKS[0]
        label = f"without CMI (n={len(base.accuracies)})"
        axis.axhline(base.mean, color=look["color"], linestyle=look["linestyle"], label=label)
        axis.axhspan(base.mean - base.spread, base.mean + base.spread, color=look["color"], alpha=0.13, linewidth=0)
    counts = sorted({len(cell.accuracies) for cell in cells.values()})
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    means, spreads = [cell.mean for cell in cells.values()], [cell.spread for cell in cells.values()]
    axis.errorbar(list(cells), means, spreads, label=f"with CMI (n={n} a point)", **LOOKS[1])
    axis.set_xscale("log")
    axis.set_xticks(list(cells), [f"{number:g}" for number in cells])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
