"""A set as IDC saves its own: ``data.pt`` and ``args.txt``."""

import logging
from pathlib import Path

import torch

from cmidd.data.preprocessing import Normalize
from cmidd.synthetic.exports.common import decoded, refuse_soft_labels, refuse_stages
from cmidd.synthetic.pictures import new_folder
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import files

log = logging.getLogger(__name__)


def write(synthetic: SyntheticSet, folder: Path) -> None:
    """``[pixels, labels]`` with the settings that decode them.

    Grids stay grids where IDC's code cuts the same images from them, and are written as their tiles otherwise.

    Raises:
        SettingError: when the set has stages or soft labels, or the folder is not new.
    """
    refuse_stages(synthetic, "idc")
    refuse_soft_labels(synthetic, "idc")
    if _cut_alike(synthetic):
        factor, pixels, labels = synthetic.formation.factor, synthetic.raw_pixels(), synthetic.labels
    else:
        factor, pixels, labels = 1, synthetic.transform.inverse(decoded(synthetic)), synthetic.decode().labels
    if not isinstance(synthetic.transform, Normalize):
        log.warning("the set is whitened, and IDC normalises its pixels: a network sees other images than the set's")
    classes = len(synthetic.classes)
    settings = {"factor": factor, "decode_type": "single", "ipc": len(labels) // classes, "nclass": classes}
    with new_folder(folder) as beside:
        torch.save([pixels.cpu().contiguous(), labels.cpu()], beside / "data.pt")
        files.write_json(beside / "args.txt", settings)


def _cut_alike(synthetic: SyntheticSet) -> bool:
    """Whether tiles cut from pixels are those that are cut from the stored images: resizing goes through a
    normalisation, and not through a whitening; IDC pads with the middle of the pixels.
    """
    formation = synthetic.formation
    whole = not any(side % formation.factor for side in synthetic.images.shape[2:])
    return formation.stored_as == "pixels" or (isinstance(synthetic.transform, Normalize) and whole)
