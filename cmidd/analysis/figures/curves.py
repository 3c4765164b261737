"""Figure 3, accuracy over iterations and seconds, and CMI over iterations, each with bands."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from cmidd.analysis.cells import Cell
from cmidd.analysis.figures.lines import Line, draw_lines
from cmidd.analysis.figures.style import LOOKS, Drawing, Look
from cmidd.analysis.results import Result
from cmidd.utils import files
from cmidd.utils.noise import deviation


def accuracy_curves(groups: Mapping[str, Cell], lines: Sequence[Line] = ()) -> Drawing | str:
    """Accuracy over iterations and over seconds of distillation, mean and standard deviation, of the runs that were
    evaluated on the way, where all of them were.
    """
    if max(len(result.evaluations) for cell in groups.values() for result in cell.results) < 2:
        return "runs that are evaluated on the way, evaluation.interval=<iterations>"

    def draw(figure: FigureBase) -> None:
        over_iterations, over_seconds = axes = figure.subplots(1, 2, sharey=True)
        for (title, cell), look in zip(groups.items(), LOOKS, strict=False):
            runs = [result for result in cell.results if len(result.evaluations) > 1] or cell.results
            iterations = sorted(map(int, set.intersection(*(set(result.evaluations) for result in runs))))
            values = [[accuracy for result in runs for accuracy in result.evaluations[str(at)]] for at in iterations]
            timed = [(each, values[number]) for number, at in enumerate(iterations) for each in _seconds(runs, at)]
            label = f"{title} (n={min(map(len, values))})"
            _band(over_iterations, iterations, values, label, look)
            if timed:
                _band(over_seconds, [seconds for seconds, _ in timed], [own for _, own in timed], label, look)
        draw_lines(axes, lines)
        over_iterations.set_xlabel("iteration")
        over_seconds.set_xlabel("seconds of distillation")
        over_iterations.set_ylabel("test accuracy, per cent\nmean ± standard deviation")
        handles, labels = over_iterations.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)

    return Drawing((7.0, 3.6), draw)


def cmi_curves(groups: Mapping[str, Cell]) -> Drawing | str:
    """CMI over iterations, of the runs that recorded it, mean and standard deviation over a twentieth of them: every
    step measures it in another teacher.
    """
    recorded = {title: [rows for result in cell.results if (rows := _cmi(result))] for title, cell in groups.items()}
    if not any(recorded.values()):
        return "runs with CMI, or with cmi.measure=true"

    def draw(figure: FigureBase) -> None:
        axis = figure.subplots()
        for (title, runs), look in zip(recorded.items(), LOOKS, strict=False):
            values: dict[int, list[float]] = {}
            for at, value in (row for rows in runs for row in rows):
                values.setdefault(at, []).append(value)
            if values:
                pieces = np.array_split(sorted(values), min(20, len(values)))
                together = [[value for at in piece for value in values[int(at)]] for piece in pieces]
                label = f"{title} ({len(runs)} run{'' if len(runs) == 1 else 's'})"
                _band(axis, [float(piece.mean()) for piece in pieces], together, label, look)
        axis.set_xlabel("iteration")
        axis.set_ylabel("CMI(S), nats\nmean ± standard deviation")
        figure.legend(loc="outside lower center", ncols=1)

    return Drawing((3.6, 3.4), draw)


def _band(axis: Axes, x: Sequence[float], values: Sequence[Sequence[float]], label: str, look: Look) -> None:
    means = np.array([statistics.fmean(some) for some in values])
    spreads = np.array([deviation(some) for some in values])
    axis.plot(x, means, label=label, markevery=max(1, len(x) // 12), **look)
    axis.fill_between(x, means - spreads, means + spreads, color=look["color"], alpha=0.18, linewidth=0)


def _seconds(results: Sequence[Result], at: int) -> list[float]:
    """After how many seconds an iteration was over, in the mean; nothing where no run recorded it."""
    recorded = [result.record.evaluated_at_seconds or {} for result in results]
    found = [seconds[str(at)] for seconds in recorded if str(at) in seconds]
    return [statistics.fmean(found)] if found else []


def _cmi(result: Result) -> list[tuple[int, float]]:
    path = result.path.with_name("metrics.jsonl")
    rows = files.read_rows(path) if path.exists() else []
    return [(row["iteration"], row["cmi"]) for row in rows if "cmi" in row]
