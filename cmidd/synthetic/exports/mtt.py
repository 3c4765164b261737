"""A set as MTT, DATM and TESLA save theirs: ``images_best.pt``, ``labels_best.pt`` and ``lr_best.pt``."""

import logging
from pathlib import Path

import torch

from cmidd.synthetic.exports.common import decoded, refuse_stages, space
from cmidd.synthetic.pictures import new_folder
from cmidd.synthetic.synthetic_set import SyntheticSet

log = logging.getLogger(__name__)


def write(synthetic: SyntheticSet, folder: Path) -> None:
    """Bare tensors: images in network input space, labels ``[N]`` int64, or soft ones
    ``[N, C]`` as they are (DATM: logits, TESLA: probabilities), and the learned step size, where there is one (DATM).

    Raises:
        SettingError: when the set has stages, or the folder is not new.
    """
    refuse_stages(synthetic, "mtt")
    soft = synthetic.all_soft_labels
    tiles = synthetic.formation.tiles
    labels = synthetic.decode().labels if soft is None else soft.values.detach().repeat(tiles, 1)
    with new_folder(folder) as beside:
        torch.save(decoded(synthetic), beside / "images_best.pt")
        torch.save(labels.cpu().contiguous(), beside / "labels_best.pt")
        if synthetic.syn_lr is not None:
            torch.save(synthetic.syn_lr.detach().cpu().clone(), beside / "lr_best.pt")
    if tiles > 1:
        log.info("the files do not say that none of these is a grid: evaluate them by a method of grids with factor=1")
    log.info("the images are %s, which the files do not say", space(synthetic))
