"""A set as DC, DSA and DM save theirs: ``res_<method>_<data set>_<network>_<ipc>ipc.pt``."""

from pathlib import Path

import torch

from cmidd.data.preprocessing import Normalize
from cmidd.data.published import title_of
from cmidd.synthetic.exports.common import decoded, refuse_soft_labels, refuse_stages
from cmidd.synthetic.pictures import new_folder
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError


def write(synthetic: SyntheticSet, folder: Path) -> None:
    """A dictionary with one experiment in ``data`` and no accuracy, and the ``factor`` of its grids, which is 1: DC's
    code has none, and the method in the name may be one of grids.

    Raises:
        SettingError: when the set has stages or soft labels or is whitened, or the folder is not new.
    """
    refuse_stages(synthetic, "dc")
    refuse_soft_labels(synthetic, "dc")
    if not isinstance(synthetic.transform, Normalize):
        raise SettingError("format=dc: its images are normalised, those of the set are whitened; give format=mtt")
    about, labels = synthetic.about, synthetic.decode().labels.cpu()
    ipc = len(labels) // len(synthetic.classes)
    network = about.get("network", {}).get("name", "convnet").replace("convnet", "ConvNet")
    name = f"res_{about.get('method', 'dm').upper()}_{_title(about.get('dataset', 'set'))}_{network}_{ipc}ipc.pt"
    content = {"data": [[decoded(synthetic), labels]], "accs_all_exps": {}, "factor": 1}
    with new_folder(folder) as beside:
        torch.save(content, beside / name)


def _title(dataset: str) -> str:
    """As DC calls a data set: ``FashionMNIST``."""
    return title_of(dataset).replace("-", "").replace("_", "")
