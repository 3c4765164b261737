"""Sets of IDC: ``data_*.pt``."""

from pathlib import Path

from cmidd.synthetic.foreign.imported import Imported, load, pair


def read(path: Path) -> Imported:
    """``[images, labels]``, pixels in [0, 1]."""
    images, labels = pair(path, load(path))
    return Imported(images.clamp(0, 1), labels, "pixels")
