"""Sets of HaBa: base images with styles, ``images_best.pt`` with ``weights_best.pt`` and ``images_<n>.pt`` with
``styles_<n>.pt`` beside.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from cmidd.synthetic.foreign.contents import dense_tensor, images_of, load
from cmidd.synthetic.foreign.imported import KINDS, Imported
from cmidd.synthetic.foreign.mtt import WAYS
from cmidd.utils.errors import SettingError

PARTS = ("enc.weight", "enc.bias", "dec.weight", "dec.bias", "scale", "shift")
MOST_STYLES = 100


def read(path: Path, classes: int) -> Imported:
    """Every base image in every style: a convolution, scaled and shifted, and a transposed one. Base images are in the
    order of the classes, as many of each.

    Raises:
        SettingError: when a file is absent or damaged, or the two do not fit.
    """
    base = images_of(path, load(path))
    named = [path.with_name(path.name.replace("images_", f"{kind}_", 1)) for kind in ("weights", "styles")]
    beside = next((each for each in named if each.exists()), named[0])
    styles = _styles(beside, load(beside))
    if len(base) % classes:
        raise SettingError(f"synthetic={path}: {len(base)} base images of {classes} classes; check dataset=")
    try:
        images = torch.cat([_in_style(base, style) for style in styles])
    except RuntimeError as error:
        raise SettingError(f"synthetic={path}: does not fit {beside.name}: {error}; give {KINDS}") from error
    labels = torch.arange(classes).repeat_interleave(len(base) // classes).repeat(len(styles))
    said = (f"{len(base)} base images in {len(styles)} styles",)
    return Imported(images=images, labels=labels, stored_as="input", normalised=WAYS, said=said)


def _styles(path: Path, value: object) -> list[dict[str, Tensor]]:
    if not isinstance(value, Mapping) or not 0 < (count := len(value) // len(PARTS)) <= MOST_STYLES:
        raise SettingError(f"synthetic: {path} holds no styles, up to {MOST_STYLES}; give {KINDS}")
    if value.keys() != (names := {f"{style}.{part}" for style in range(count) for part in PARTS}):
        other = sorted(map(str, value.keys() ^ names))[0]
        raise SettingError(f"synthetic: {path} holds no whole styles, see {other}; give {KINDS}")
    return [{part: dense_tensor(path, value[f"{style}.{part}"]) for part in PARTS} for style in range(count)]


def _in_style(base: Tensor, style: Mapping[str, Tensor]) -> Tensor:
    coded = F.conv2d(base, style["enc.weight"], style["enc.bias"])
    return F.conv_transpose2d(coded * style["scale"] + style["shift"], style["dec.weight"], style["dec.bias"])
