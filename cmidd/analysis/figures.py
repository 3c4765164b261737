"""The paper's figures from finished runs: what CMI does to the images, their embeddings, and the accuracy."""

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.manifold import TSNE

from cmidd.analysis.measured import Cell
from cmidd.analysis.results import Result
from cmidd.data.split import Split
from cmidd.networks import Network
from cmidd.synthetic import pictures
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import files

matplotlib.use("Agg")


log = logging.getLogger(__name__)
# Distinct in black and white as well: by dashes, markers and hatches.
STYLES = (
    {"color": "#444444", "linestyle": "--", "marker": "o"},
    {"color": "#c1272d", "linestyle": "-", "marker": "^"},
)
MOST_CLASSES = 10


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write ``<stem>.png`` and ``<stem>.pdf``, each whole or not at all."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "pdf")]
    for path in paths:
        with files.atomic_write(path) as beside:
            figure.savefig(beside, format=path.suffix[1:], dpi=150, bbox_inches="tight")
    plt.close(figure)
    return paths


def images(sets: Mapping[str, SyntheticSet]) -> Figure:
    """Figure 1: the image grids side by side, at most ten classes."""
    figure, axes = plt.subplots(1, len(sets), figsize=(6.5 * len(sets), 6.8), squeeze=False)
    for axis, (title, synthetic) in zip(axes[0], sets.items(), strict=True):
        axis.imshow(_grid(synthetic), interpolation="nearest")
        axis.set_title(title)
        axis.set_axis_off()
    return figure


def embeddings(sets: Mapping[str, SyntheticSet], real: Split, network: Network, seed: int = 0) -> Figure:
    """Figure 2: t-SNE of real and synthetic embeddings, one map for all panels.

    Colours are classes; synthetic images are their class's number, real ones dots. At most ten classes are drawn.
    """
    shown = {title: synthetic.decode() for title, synthetic in sets.items()}
    splits = [_of_first_classes(split) for split in (real, *shown.values())]
    with torch.no_grad():
        features = [network.embed(split.images).flatten(1).cpu().numpy() for split in splits]
    together = np.concatenate(features)
    perplexity = min(30.0, (len(together) - 1) / 3)
    flat = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(together)
    points = np.split(flat, np.cumsum([len(some) for some in features])[:-1])
    colours = plt.get_cmap("tab10")
    figure, axes = plt.subplots(1, len(sets), figsize=(6.5 * len(sets), 6), squeeze=False, sharex=True, sharey=True)
    for axis, title, split, own in zip(axes[0], shown, splits[1:], points[1:], strict=True):
        axis.scatter(*points[0].T, c=colours(splits[0].labels.cpu().numpy()), s=6, alpha=0.35, linewidths=0)
        for label in split.labels.unique().tolist():
            at = own[(split.labels == label).cpu().numpy()]
            axis.scatter(*at.T, color="white", s=110, marker="o", linewidths=0, alpha=0.8)
            axis.scatter(*at.T, color=colours(label), s=60, marker=f"${label}$", edgecolors="black", linewidths=0.4)
        axis.set_title(title)
        axis.set_xlabel("t-SNE, first coordinate")
    axes[0][0].set_ylabel("t-SNE, second coordinate")
    classes = next(iter(sets.values())).classes[:MOST_CLASSES]
    names = [f"{label}: {name}".replace("$", r"\$") for label, name in enumerate(classes) if str(label) != name]
    figure.text(0.5, -0.02, "dots: real, numbers: synthetic    " + "   ".join(names), ha="center", fontsize=9)
    return figure


def accuracy_curves(groups: Mapping[str, Cell]) -> Figure | None:
    """Figure 3: accuracy over iterations and over seconds of distillation, mean and standard deviation, of the runs
    that were evaluated on the way, where all of them were; None when there are none.
    """
    if max(len(result.evaluations) for cell in groups.values() for result in cell.results) < 2:
        return None
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), sharey=True)
    for (title, cell), style in zip(groups.items(), STYLES, strict=False):
        runs = [result for result in cell.results if len(result.evaluations) > 1] or cell.results
        iterations = sorted(map(int, set.intersection(*(set(result.evaluations) for result in runs))))
        values = [[accuracy for result in runs for accuracy in result.evaluations[str(at)]] for at in iterations]
        timed = [(each, values[number]) for number, at in enumerate(iterations) for each in _seconds(runs, at)]
        label = f"{title} (n={min(map(len, values))})"
        _band(axes[0], iterations, values, label, style)
        if timed:
            _band(axes[1], [seconds for seconds, _ in timed], [own for _, own in timed], label, style)
    axes[0].set_xlabel("iteration")
    axes[1].set_xlabel("seconds of distillation")
    axes[0].set_ylabel("test accuracy, per cent")
    _legend_above(axes[0])
    return figure


def cmi_curves(groups: Mapping[str, Cell]) -> Figure | None:
    """CMI over iterations, of the runs that recorded it, mean and standard deviation over a twentieth of them: every
    step measures it in another teacher. None when no run recorded it.
    """
    figure, axis = plt.subplots(figsize=(5.5, 3.8))
    drawn = False
    for (title, cell), style in zip(groups.items(), STYLES, strict=False):
        values: dict[int, list[float]] = {}
        recorded = [rows for result in cell.results if (rows := _metric(result, "cmi"))]
        for at, value in (row for rows in recorded for row in rows):
            values.setdefault(at, []).append(value)
        if values:
            pieces = np.array_split(sorted(values), min(20, len(values)))
            together = [[value for at in piece for value in values[int(at)]] for piece in pieces]
            runs = "1 run" if len(recorded) == 1 else f"{len(recorded)} runs"
            _band(axis, [float(piece.mean()) for piece in pieces], together, f"{title} ({runs})", style)
            drawn = True
    axis.set_xlabel("iteration")
    axis.set_ylabel("CMI(S), nats")
    if not drawn:
        plt.close(figure)
        return None
    _legend_above(axis)
    return figure


def weights(by_weight: Mapping[float, Cell]) -> Figure | None:
    """Accuracy against the weight of CMI; the baseline is the dashed line with its band. None without any weight."""
    positive = sorted(weight for weight in by_weight if weight > 0)
    if not positive:
        return None
    figure, axis = plt.subplots(figsize=(5.5, 3.8))
    if 0.0 in by_weight:
        base = by_weight[0.0]
        axis.axhline(base.mean, color="#444444", linestyle="--", label=f"without CMI (n={len(base.accuracies)})")
        axis.axhspan(base.mean - base.spread, base.mean + base.spread, color="#444444", alpha=0.15, linewidth=0)
    found = [by_weight[weight] for weight in positive]
    means, spreads = [cell.mean for cell in found], [cell.spread for cell in found]
    count = min(len(cell.accuracies) for cell in found)
    axis.errorbar(positive, means, spreads, color="#c1272d", marker="^", capsize=4, label=f"with CMI (n={count})")
    axis.set_xscale("log")
    axis.set_xlabel("weight of CMI")
    axis.set_ylabel("test accuracy, per cent")
    axis.legend()
    return figure


def _legend_above(axis: Axes) -> None:
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1.01), frameon=False)


def _band(axis: Axes, x: Sequence[float], values: Sequence[Sequence[float]], label: str, style: dict[str, str]) -> None:
    means = np.array([statistics.fmean(some) for some in values])
    spreads = np.array([statistics.stdev(some) if len(some) > 1 else 0.0 for some in values])
    every = max(1, len(x) // 12)
    axis.plot(x, means, label=label, markersize=4, markevery=every, linewidth=1.3, **style)  # type: ignore[arg-type]
    axis.fill_between(x, means - spreads, means + spreads, color=style["color"], alpha=0.18, linewidth=0)


def _seconds(results: Sequence[Result], at: int) -> list[float]:
    """After how many seconds an iteration was over, in the mean; nothing where no run recorded it."""
    recorded = [result.record.evaluated_at_seconds or {} for result in results]
    found = [seconds[str(at)] for seconds in recorded if str(at) in seconds]
    return [statistics.fmean(found)] if found else []


def _metric(result: Result, name: str) -> list[tuple[int, float]]:
    path = result.path.with_name("metrics.jsonl")
    rows = files.read_rows(path) if path.exists() else []
    return [(row["iteration"], row[name]) for row in rows if name in row]


def _grid(synthetic: SyntheticSet) -> Image.Image:
    """The first images of the first classes."""
    keep = synthetic.labels < MOST_CLASSES
    return pictures.grid(synthetic.pixels()[keep], synthetic.labels[keep], synthetic.classes[:MOST_CLASSES])


def _of_first_classes(split: Split) -> Split:
    return split[split.labels < MOST_CLASSES]


FigureMaker = Callable[[], Figure | None]
NEEDS = {
    "accuracy": "runs that are evaluated on the way, evaluation.interval=<iterations>",
    "cmi": "runs with CMI, or with cmi.measure=true",
    "weights": "runs with given weights of CMI, cmi.lambda=<number>",
}


def make(makers: Mapping[str, FigureMaker], folder: Path) -> list[Path]:
    """Make every figure and save it under its name; one that has no data says so and the others are made."""
    written = []
    for name, maker in makers.items():
        figure = maker()
        if figure is None:
            log.info("%s: not drawn, it needs %s", name, NEEDS[name])
        else:
            written += save(figure, folder / name)
    return written
