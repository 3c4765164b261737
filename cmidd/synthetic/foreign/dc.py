"""Sets of DC, DSA and DM: ``res_*.pt``."""

from pathlib import Path

from cmidd.synthetic.foreign.imported import KINDS, Imported, load, pair
from cmidd.utils.errors import SettingError


def read(path: Path) -> Imported:
    """A dictionary whose ``data`` holds ``[images, labels]`` of every experiment; the last one is taken."""
    value = load(path)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list) or not value["data"]:
        raise SettingError(
            f"synthetic={path}: expected a dictionary with 'data', [images, labels] per experiment; give {KINDS}"
        )
    return Imported(*pair(path, value["data"][-1]), "input")
