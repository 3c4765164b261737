"""Figure 2, the embeddings: t-SNE of real and synthetic images, one map for all panels, with the CMI of each set."""

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE
from torch import Tensor

from cmidd.analysis.figures.style import Drawing
from cmidd.compute.embeddings import embed_real
from cmidd.data.split import Split
from cmidd.networks import Network
from cmidd.regularizers.cmi import conditional_mutual_information
from cmidd.synthetic.synthetic_set import SyntheticSet

MOST_CLASSES = 10
NUMBERED = 150  # synthetic images, from which on numbers would hide them


def embeddings(
    sets: Mapping[str, SyntheticSet],
    real: Split,
    network: Network,
    *,
    seen: Callable[[Tensor], Tensor] = lambda images: images,
    seed: int = 0,
) -> Drawing:
    """The map of at most ten classes. Real images are pale, synthetic ones strong, with the number of their class where
    there are not too many; below each panel stands the CMI of the whole set in the same network.

    Args:
        seen: what the network sees of an image, as teachers of CMI do.
    """
    decoded = {title: synthetic.decode() for title, synthetic in sets.items()}
    splits = [real, *decoded.values()]
    features = [embed_real(network, seen(split.images)).flatten(1) for split in splits]
    cmi = [
        float(conditional_mutual_information(own, split.labels))
        for own, split in zip(features[1:], splits[1:], strict=True)
    ]
    keep = [split.labels < MOST_CLASSES for split in splits]
    labels = [split.labels[some].cpu().numpy() for split, some in zip(splits, keep, strict=True)]
    shown = [own[some].cpu().numpy() for own, some in zip(features, keep, strict=True)]
    together = np.concatenate(shown)
    perplexity = min(30.0, (len(together) - 1) / 3)
    flat = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(together)
    points = np.split(flat, np.cumsum([len(some) for some in shown])[:-1])
    classes, numbered = next(iter(sets.values())).classes[:MOST_CLASSES], max(map(len, points[1:])) <= NUMBERED

    def draw(figure: FigureBase) -> None:
        axes = figure.subplots(1, len(sets), squeeze=False, sharex=True, sharey=True)[0]
        for axis, title, own, own_labels, value in zip(axes, decoded, points[1:], labels[1:], cmi, strict=True):
            _panel(axis, points[0], labels[0], own, own_labels, numbered=numbered)
            axis.set_title(title)
            axis.set_xlabel(f"CMI(S) = {value:.3g} nats")
        figure.legend(
            handles=_legend(classes, numbered=numbered), loc="outside lower center", ncols=6, handletextpad=0.2
        )

    return Drawing((3.6 * len(sets), 4.3), draw)


def _panel(
    axis: Axes, real: np.ndarray, labels: np.ndarray, synthetic: np.ndarray, own: np.ndarray, *, numbered: bool
) -> None:
    colours = plt.get_cmap("tab10")
    axis.scatter(real[:, 0], real[:, 1], c=colours(labels), s=7, alpha=0.25, linewidths=0, rasterized=True)
    size, edge = (8, 0.9) if numbered else (4, 0.5)
    for order, (at, label) in enumerate(zip(synthetic, own, strict=True)):  # Each with its number, above those before.
        above = 2 + order / len(synthetic)
        (mark,) = axis.plot(*at, "o", color=colours(label), markeredgecolor="black", zorder=above)
        mark.set(markersize=size, markeredgewidth=edge)
        if numbered:
            said = axis.annotate(str(label), at, ha="center", va="center_baseline", zorder=above)
            said.set(fontsize=6, color="white", weight="bold", in_layout=False)  # Within its mark: nothing to lay out.
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(True)
    axis.spines[:].set_color("#bbbbbb")


def _legend(classes: tuple[str, ...], *, numbered: bool) -> list[Line2D]:
    colours = plt.get_cmap("tab10")
    said = [not numbered or name.startswith(str(label)) for label, name in enumerate(classes)]
    names = [name if said[label] else f"{label} {name}" for label, name in enumerate(classes)]
    marks = [
        Line2D([], [], color="#888888", alpha=0.5, markersize=3, label="real"),
        Line2D([], [], color="#888888", markeredgecolor="black", markersize=7, label="synthetic"),
        *(Line2D([], [], color=colours(label), markersize=6, label=name) for label, name in enumerate(names)),
    ]
    plt.setp(marks, linestyle="", marker="o")
    return marks
