"""One file of arrays of the user's: ``data.root=<file>.npz`` or ``.safetensors``."""

from pathlib import Path

from cmidd.data.array_files import read_arrays
from cmidd.data.split import Source


def read(root: Path, download: bool) -> Source:
    """The file ``root`` (:func:`cmidd.data.array_files.read_arrays`)."""
    return read_arrays(root)
