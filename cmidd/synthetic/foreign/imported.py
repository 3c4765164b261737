"""A foreign set as it was read, and the tensors inside such files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cmidd.utils.errors import SettingError

KINDS = (
    "a run's folder, its synthetic.safetensors, a folder that export.py wrote, another of PNGs (one subfolder per "
    "class), images_*.pt with labels_*.pt beside it (MTT), res_*.pt (DC, DSA, DM) or data_*.pt (IDC)"
)


@dataclass(frozen=True)
class Imported:
    """Stored images ``[N, C, H, W]`` in network input space or as ``pixels`` in [0, 1], labels ``[N]``, and the method
    and data set that the file's name gives away, if it does.
    """

    images: Tensor
    labels: Tensor
    stored_as: Literal["input", "pixels"]
    method: str | None = None
    dataset: str | None = None


def load(path: Path) -> Any:
    if not path.is_file():
        raise SettingError(f"synthetic: {path} is missing; give {KINDS}")
    # The accuracies that DC, DSA and DM store beside their images are numpy numbers.
    import numpy as np
    from numpy._core.multiarray import _reconstruct, scalar

    numbers: list[Any] = [np.dtype, np.ndarray, *(type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4"))]
    names = [(made, f"numpy.core.multiarray.{made.__name__}") for made in (scalar, _reconstruct)]
    try:
        with torch.serialization.safe_globals([*numbers, scalar, _reconstruct, *names]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or unsafe file
        reason = " ".join(str(error).split())[:200]
        raise SettingError(f"synthetic={path}: cannot be read as tensors: {reason}; give {KINDS}") from error


def dense_tensor(path: Path, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise SettingError(f"synthetic={path}: expected a tensor, found {type(value).__name__}; give {KINDS}")
    if value.layout != torch.strided or value.is_complex() or value.is_quantized or value.device.type != "cpu":
        raise SettingError(f"synthetic={path}: a tensor of kind {value.dtype}, {value.layout}; give plain numbers")
    # A tensor may repeat few stored numbers without end.
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise SettingError(
            f"synthetic={path}: stores fewer numbers than its shape {list(value.shape)} has; save it anew"
        )
    if value.numel() == 0 or not value.isfinite().all():
        raise SettingError(f"synthetic={path}: empty, or with numbers that are not finite; give another file")
    return value.detach().float()


def whole_numbers(path: Path, labels: Tensor) -> Tensor:
    if not torch.equal(labels, labels.round()):
        raise SettingError(
            f"synthetic={path}: labels are whole numbers, found {float(labels.flatten()[0]):g}, ...; give {KINDS}"
        )
    return labels.long()


def pair(path: Path, value: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise SettingError(f"synthetic={path}: expected [images, labels], found {type(value).__name__}; give {KINDS}")
    return dense_tensor(path, value[0]), whole_numbers(path, dense_tensor(path, value[1]))
