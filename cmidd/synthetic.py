"""The synthetic set: learnable images with their labels, and everything needed to train on them elsewhere."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from cmidd import files
from cmidd.data import Dataset
from cmidd.errors import SettingError
from cmidd.preprocessing import Preprocessing, from_tensors
from cmidd.sources import Split

FORMAT = 1


@dataclass
class SyntheticSet:
    """Distilled images ``[N, C, H, W]`` in network input space, with hard labels ``[N]``.

    Attributes:
        transform: what real pixels in [0, 1] must go through before a network trained on ``images`` sees
            them; its ``inverse`` turns ``images`` into pictures.
        classes: the name of each label.
        syn_lr: the learned step size (a scalar) where the method learns one, else None.
        about: how it was made: data set, method, ipc, seed and the training recipe of its evaluation.
    """

    images: Tensor
    labels: Tensor
    transform: Preprocessing
    classes: tuple[str, ...]
    syn_lr: Tensor | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_real(cls, data: Dataset, ipc: int, generator: torch.Generator) -> "SyntheticSet":
        """Start from ``ipc`` distinct random training images of every class."""
        data.check_ipc(ipc)
        start = data.class_batches(ipc, generator)
        return cls(start.images.clone(), start.labels.clone(), data.preprocessing, data.classes)

    @classmethod
    def from_noise(cls, data: Dataset, ipc: int, generator: torch.Generator) -> "SyntheticSet":
        """Start from standard normal noise in network input space."""
        labels = torch.arange(data.num_classes).repeat_interleave(ipc)
        images = torch.randn(len(labels), *data.image_shape, generator=generator)
        return cls(images.to(data.device), labels.to(data.device), data.preprocessing, data.classes)

    def decode(self) -> Split:
        """The training set that the stored images stand for, detached."""
        return Split(self.images.detach(), self.labels)

    def pixels(self) -> Tensor:
        """The images as pictures, clipped to [0, 1]."""
        return self.transform.inverse(self.images.detach()).clamp(0, 1)

    def save(self, path: Path) -> None:
        """Write one self-describing safetensors file, whole or not at all."""
        tensors = {"images": self.images, "labels": self.labels, **self.transform.tensors()}
        if self.syn_lr is not None:
            tensors["syn_lr"] = self.syn_lr
        files.write_tensors(path, tensors, {"format": FORMAT, "classes": list(self.classes), **self.about})


def load_synthetic(path: str | Path, device: torch.device | str = "cpu") -> SyntheticSet:
    """Read a synthetic set: ready images, labels, the matching test transform, the learned step size.

    Raises:
        SettingError: when the file is absent, damaged, or not a synthetic set of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise SettingError(f"{path}: no such file; give a synthetic.safetensors that distill.py wrote")
    try:
        tensors, about = files.read_tensors(path)
    except (SafetensorError, ValueError) as error:
        raise SettingError(f"{path}: damaged or not a safetensors file ({error}); distil it again") from error
    if about.pop("format", None) != FORMAT or not {"images", "labels"} <= tensors.keys():
        raise SettingError(f"{path}: not a synthetic set of format {FORMAT}; give a synthetic.safetensors of cmidd")
    classes = tuple(about.pop("classes"))
    images, labels = tensors["images"].to(device), tensors["labels"].to(device)
    return SyntheticSet(images, labels, from_tensors(tensors), classes, tensors.get("syn_lr"), about)
