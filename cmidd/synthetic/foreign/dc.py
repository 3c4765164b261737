"""Sets of DC, DSA, DM and DataDAM: ``res_*.pt`` and ``syn_data_*.pt``."""

from pathlib import Path

from torch import Tensor

from cmidd.synthetic.foreign.contents import load, pair
from cmidd.synthetic.foreign.imported import KINDS, Imported
from cmidd.utils.errors import SettingError


def read(path: Path) -> Imported:
    """A dictionary whose ``data`` holds ``[images, labels]`` of every experiment (DC, DSA, DM) or of every improvement
    (DataDAM), of which the last is taken, or of the one that was released (DataDAM). What
    ``export.py`` wrote says the ``factor`` of its grids as well.

    Raises:
        SettingError: when it is absent, damaged or something else.
    """
    value = load(path)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list) or not value["data"]:
        raise SettingError(
            f"synthetic={path}: expected a dictionary with 'data', [images, labels] per experiment; give {KINDS}"
        )
    flat = isinstance(value["data"][0], Tensor)
    images, labels = pair(path, value["data"] if flat else value["data"][-1])
    sets = 1 if flat else len(value["data"])
    said = (f"the last of the {sets} sets in it is taken",) if sets > 1 else ()
    factor = value.get("factor")
    if factor is not None and (not isinstance(factor, int) or not 0 < factor <= 64):
        raise SettingError(f"synthetic={path}: says factor {factor!r}, expected 1 to 64; repair it")
    return Imported(images=images, labels=labels, stored_as="input", factor=factor, zca=False, said=said)
