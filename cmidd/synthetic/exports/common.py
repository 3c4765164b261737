"""What the formats of others share: what they cannot hold, and the images that networks are trained on."""

import logging

from torch import Tensor

from cmidd.data.preprocessing import Normalize
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)


def refuse_stages(synthetic: SyntheticSet, format: str) -> None:
    """Refuse a set whose images are trained on in turn.

    Raises:
        SettingError: when it has several stages.
    """
    if synthetic.finished:
        raise SettingError(
            f"format={format}: holds one stage, the set has {len(synthetic.finished) + 1}, each with images and a step "
            "size of its own; give format=png, or the safetensors file"
        )


def refuse_soft_labels(synthetic: SyntheticSet, format: str) -> None:
    """Refuse a set with soft labels.

    Raises:
        SettingError: when it has some.
    """
    if synthetic.all_soft_labels is not None:
        raise SettingError(
            f"format={format}: holds hard labels, the set has soft ones; give format=mtt, or labels=hard "
            "to leave them out"
        )


def decoded(synthetic: SyntheticSet) -> Tensor:
    """The images ``[N, C, H, W]`` that a network is trained on, in its input space; the log says where these are the
    tiles of grids.
    """
    if synthetic.formation.tiles > 1:
        log.info("the %d tiles of every image are written as images of their own", synthetic.formation.tiles)
    return synthetic.decode().images.cpu().contiguous()


def space(synthetic: SyntheticSet) -> str:
    """How network input is made of pixels, in words."""
    if isinstance(synthetic.transform, Normalize):
        mean, std = (
            [round(value, 4) for value in each.tolist()] for each in (synthetic.transform.mean, synthetic.transform.std)
        )
        return f"normalised with mean {mean} and deviation {std} of the channels"
    return "whitened, with the whitening of the set"
