"""Figure 1, the images: the grids side by side, and what CMI changed in them."""

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import FigureBase
from torch import Tensor

from cmidd.analysis.figures.style import Drawing
from cmidd.synthetic import pictures
from cmidd.synthetic.synthetic_set import SyntheticSet

COLOURS = "RdBu_r"  # red where CMI made it brighter, blue where darker, white where it did nothing


def images(sets: Mapping[str, SyntheticSet], alike: bool = True) -> Drawing:
    """The first images of at most ten classes of every set; of two with the same labels the difference as well.

    Args:
        alike: whether they began with the same images; between others a difference says nothing, and is not drawn.
    """
    shown = {title: _shown(synthetic) for title, synthetic in sets.items()}
    classes = next(iter(sets.values())).classes[:10]
    difference = _difference(list(shown.values())) if alike else None
    panels = len(sets) + (difference is not None)

    def draw(figure: FigureBase) -> None:
        axes = figure.subplots(1, panels, squeeze=False)[0]
        for axis, (title, (pixels, labels)) in zip(axes, shown.items(), strict=False):
            pictures.show(pixels, labels, classes, axes=axis)
            axis.set_title(title)
        for axis in axes[1:]:
            axis.set_yticks([])
        if difference is not None:
            values, most = difference
            scale = ScalarMappable(Normalize(-most, most), COLOURS)
            coloured = torch.from_numpy(np.asarray(scale.cmap(scale.norm(values.numpy()))))[..., :3].permute(0, 3, 1, 2)
            pictures.show(coloured, next(iter(shown.values()))[1], classes, axes=axes[-1])
            axes[-1].set_yticks([])
            axes[-1].set_title("right minus left")
            bar = figure.colorbar(scale, ax=axes[-1], fraction=0.05, pad=0.02)
            bar.set_label("brightness")
            bar.outline.set_visible(False)

    return Drawing((3.4 * panels + 0.6, 3.9), draw)


def _shown(synthetic: SyntheticSet) -> tuple[Tensor, Tensor]:
    which = synthetic.first_of_classes()
    return synthetic.pixels(which).cpu(), synthetic.labels[which].cpu()


def _difference(shown: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, float] | None:
    """How much brighter the second set's images are ``[N, H, W]``, and the size that 99 of 100 pixels stay below; None
    where there are not two sets of the same images.
    """
    if len(shown) != 2:
        return None
    (first, labels), (second, others) = shown
    if first.shape != second.shape or not torch.equal(labels, others):
        return None
    values = (second - first).mean(1)
    return values, max(0.01, float(np.quantile(values.abs().numpy(), 0.99)))
