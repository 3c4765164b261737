"""Sets of MTT: ``images_*.pt`` with ``labels_*.pt`` beside."""

from pathlib import Path

from torch import Tensor

from cmidd.synthetic.foreign.imported import Imported, dense_tensor, load, whole_numbers


def read(path: Path) -> Imported:
    """Images in network input space."""
    return Imported(dense_tensor(path, load(path)), labels_beside(path), "input")


def labels_beside(path: Path) -> Tensor:
    beside = path.with_name(path.name.replace("images_", "labels_", 1))
    return whole_numbers(beside, dense_tensor(beside, load(beside)))
