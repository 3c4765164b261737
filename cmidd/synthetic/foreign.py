"""Synthetic sets of others: folders of PNGs, and the tensors that the reference repositories save."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from cmidd.data.image_files import read_picture
from cmidd.utils.errors import SettingError

KINDS = (
    "a synthetic.safetensors of cmidd, a folder of PNGs (one subfolder per class), images_*.pt with labels_*.pt "
    "beside it (MTT), res_*.pt (DC, DSA, DM) or data_*.pt (IDC)"
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


def guess(path: Path) -> tuple[str | None, str | None]:
    """Method and data set as far as the name of a reference's file tells them."""
    if path.name.startswith("images_"):
        return "mtt", None
    if path.name.startswith("data_"):
        return "idc", None
    if path.name.startswith("res_"):
        method, dataset = [*path.stem.split("_")[1:3], "", ""][:2]
        known = {"fashionmnist": "fashion_mnist"}
        return method.lower() or None, known.get(dataset.lower(), dataset.lower()) or None
    return None, None


def read(path: Path, classes: tuple[str, ...], channels: int) -> Imported:
    """Read a foreign synthetic set; nothing in the file is executed.

    Args:
        classes: the class names of the data set, by label; ``channels`` are those of its images.

    Raises:
        SettingError: when it is absent, damaged or none of the known kinds, or has labels beyond the classes.
    """
    if path.is_dir():
        found = _folder(path, classes, channels)
    elif path.suffix != ".pt":
        raise SettingError(f"synthetic={path}: not a file of a known kind; give {KINDS}")
    elif path.name.startswith("images_"):
        found = Imported(_tensor(path, _load(path)), _labels(path), "input")
    elif path.name.startswith("res_"):
        found = _dc(path)
    elif path.name.startswith("data_"):
        images, labels = _pair(path, _load(path))
        found = Imported(images.clamp(0, 1), labels, "pixels")
    else:
        raise SettingError(f"synthetic={path}: not a file of a known kind; give {KINDS}")
    if found.images.ndim != 4 or found.labels.shape != found.images.shape[:1]:
        shapes = f"{list(found.images.shape)} and {list(found.labels.shape)}"
        raise SettingError(
            f"synthetic={path}: expected images [N, C, H, W] and labels [N], found {shapes}; give {KINDS}"
        )
    beyond = found.labels[(found.labels < 0) | (found.labels >= len(classes))]
    if len(beyond):
        raise SettingError(
            f"synthetic={path}: has label {int(beyond[0])}, the data set has {len(classes)} classes; check dataset="
        )
    return found


def _load(path: Path) -> Any:
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


def _tensor(path: Path, value: Any) -> Tensor:
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


def _labels(path: Path) -> Tensor:
    beside = path.with_name(path.name.replace("images_", "labels_", 1))
    return _whole(beside, _tensor(beside, _load(beside)))


def _whole(path: Path, labels: Tensor) -> Tensor:
    if not torch.equal(labels, labels.round()):
        raise SettingError(
            f"synthetic={path}: labels are whole numbers, found {float(labels.flatten()[0]):g}, ...; give {KINDS}"
        )
    return labels.long()


def _pair(path: Path, value: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise SettingError(f"synthetic={path}: expected [images, labels], found {type(value).__name__}; give {KINDS}")
    return _tensor(path, value[0]), _whole(path, _tensor(path, value[1]))


def _dc(path: Path) -> Imported:
    """A dictionary whose ``data`` holds ``[images, labels]`` of every experiment; the last one is taken."""
    value = _load(path)
    if not isinstance(value, dict) or not isinstance(value.get("data"), list) or not value["data"]:
        raise SettingError(
            f"synthetic={path}: expected a dictionary with 'data', [images, labels] per experiment; give {KINDS}"
        )
    return Imported(*_pair(path, value["data"][-1]), "input")


def _folder(path: Path, classes: tuple[str, ...], channels: int) -> Imported:
    """Pictures in subfolders named after the classes, or by numbers (``003``, ``003_cat``) that are the labels."""
    from torchvision.transforms.functional import pil_to_tensor

    images, labels = [], []
    for folder in sorted(child for child in path.iterdir() if child.is_dir()):
        number = folder.name.split("_")[0]
        if folder.name in classes:
            label = classes.index(folder.name)
        elif number.isdecimal() and len(number) < 10:
            label = int(number)
        else:
            raise SettingError(
                f"synthetic={path}: subfolder {folder.name!r} is no class name and starts with no label, rename it; "
                f"the classes are {', '.join(classes[:10])}{', ...' if len(classes) > 10 else ''}"
            )
        for file in sorted(folder.glob("*.png")):
            picture = read_picture(file, path, "L" if channels == 1 else "RGB", f"synthetic={path}")
            images.append(pil_to_tensor(picture) / 255)
            labels.append(label)
    if not images:
        raise SettingError(f"synthetic={path}: no <class>/<image>.png in it; give {KINDS}")
    if len({image.shape for image in images}) > 1:
        raise SettingError(f"synthetic={path}: the pictures differ in size; give pictures of one size")
    return Imported(torch.stack(images), torch.tensor(labels), "pixels")
