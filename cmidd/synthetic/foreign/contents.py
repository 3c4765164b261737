"""The tensors and arrays inside the files of others, read without executing anything."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cmidd.data.npz_files import UNREADABLE, opened_npz
from cmidd.synthetic.foreign.imported import KINDS
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.utils.errors import SettingError, reason


def load(path: Path) -> Any:
    """What ``torch.save`` wrote, on the CPU.

    Raises:
        SettingError: when it is absent or damaged, or holds more than tensors, numbers and names.
    """
    if not path.is_file():
        raise SettingError(f"synthetic: {path} is missing; give {KINDS}")
    # The accuracies that DC, DSA and DM store beside their images are numpy numbers.
    from numpy._core.multiarray import _reconstruct, scalar

    numbers: list[Any] = [np.dtype, np.ndarray, *(type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4"))]
    names = [(made, f"numpy.core.multiarray.{made.__name__}") for made in (scalar, _reconstruct)]
    try:
        with torch.serialization.safe_globals([*numbers, scalar, _reconstruct, *names]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged or unsafe file
        raise unreadable(path, error) from error


def load_arrays(path: Path, *names: str) -> list[Tensor]:
    """Arrays of an ``.npz`` by their names.

    Raises:
        SettingError: when it is absent or damaged, unpacks to too much, or lacks one.
    """
    if not path.is_file():
        raise SettingError(f"synthetic: {path} is missing; give {KINDS}")
    try:
        with opened_npz(path) as file:
            if missing := [name for name in names if name not in file.files]:
                raise ValueError(f"no {missing[0]} in it, only {', '.join(file.files) or 'nothing'}")
            return [torch.from_numpy(np.asarray(file[name], dtype=np.float32)) for name in names]
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: BaseException) -> SettingError:
    return SettingError(f"synthetic={path}: cannot be read as tensors: {reason(error)}; give {KINDS}")


def dense_tensor(path: Path, value: Any) -> Tensor:
    """A tensor of a file as float32.

    Raises:
        SettingError: when it is none, or no plain, finite numbers, each of them stored.
    """
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


def images_of(path: Path, value: Any) -> Tensor:
    """The images of a file as float32.

    Raises:
        SettingError: as :func:`dense_tensor`; also when they are whole numbers, in which nobody keeps network input or
            pixels in [0, 1].
    """
    images = dense_tensor(path, value)
    if not value.is_floating_point():
        raise SettingError(
            f"synthetic={path}: images of {value.dtype}, with {images.max():g} the largest; give floats as its maker "
            "has them, pixels in [0, 1] or network input"
        )
    return images


def whole_numbers(path: Path, labels: Tensor) -> Tensor:
    """Class numbers ``[N]`` int64; DataDAM stores them as floats.

    Raises:
        SettingError: when they are none.
    """
    if not torch.equal(labels, labels.round()):
        raise SettingError(
            f"synthetic={path}: labels are whole numbers, found {float(labels.flatten()[0]):g}, ...; give {KINDS}"
        )
    return labels.long()


def labels_of(path: Path, value: Any, classes: int) -> tuple[Tensor, SoftLabels | None]:
    """The class of every image ``[N]``, and the soft labels where a file holds real numbers ``[N, classes]``.

    Raises:
        SettingError: when it holds neither.
    """
    labels = dense_tensor(path, value)
    if labels.ndim == 2 and labels.shape[1] == classes > 1 and value.is_floating_point():
        soft = SoftLabels.told_by_values(labels)
        return soft.hard, soft
    return whole_numbers(path, labels), None


def pair(path: Path, value: Any) -> tuple[Tensor, Tensor]:
    """``[images, labels]``.

    Raises:
        SettingError: when it is something else.
    """
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise SettingError(f"synthetic={path}: expected [images, labels], found {type(value).__name__}; give {KINDS}")
    return images_of(path, value[0]), whole_numbers(path, dense_tensor(path, value[1]))


def together(path: Path, parts: list[Tensor]) -> Tensor:
    """Parts of a set as one tensor.

    Raises:
        SettingError: when their shapes do not fit.
    """
    if len(parts) == 1:
        return parts[0]
    shapes = {tuple(part.shape[1:]) if part.ndim else None for part in parts}
    if len(shapes) > 1 or None in shapes:
        raise SettingError(
            f"synthetic={path}: its parts have images or labels of several shapes; give parts of one set"
        )
    return torch.cat(parts)
