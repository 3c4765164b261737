"""The synthetic set: learnable images with their labels, and everything needed to train on them elsewhere."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from cmidd import files
from cmidd.data import Dataset
from cmidd.errors import SettingError
from cmidd.formation import Formation
from cmidd.preprocessing import Preprocessing, from_tensors
from cmidd.sources import Split

FORMAT = 1


@dataclass
class SyntheticSet:
    """Distilled images ``[N, C, H, W]`` with hard labels ``[N]``, stored as their ``formation`` says.

    Attributes:
        transform: what real pixels in [0, 1] must go through before a network trained on the set sees
            them; its ``inverse`` turns network input into pictures.
        classes: the name of each label.
        formation: how the stored images stand for training images.
        syn_lr: the learned step size (a scalar) where the method learns one, else None.
        about: how it was made: data set, method, ipc, seed and the training recipe of its evaluation.
    """

    images: Tensor
    labels: Tensor
    transform: Preprocessing
    classes: tuple[str, ...]
    formation: Formation = field(default_factory=Formation)
    syn_lr: Tensor | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_real(
        cls, data: Dataset, ipc: int, generator: torch.Generator, formation: Formation | None = None
    ) -> "SyntheticSet":
        """Start from random training images of every class: distinct ones, ``ipc`` for every tile of the grid."""
        data.check_ipc(ipc)
        formation = formation or Formation()
        drawn = [data.class_batches(ipc, generator) for _ in range(formation.tiles)]
        images = formation.tile(torch.cat([some.images for some in drawn]))
        if formation.stored_as == "pixels":
            images = data.preprocessing.inverse(images).clamp(0, 1)
        return cls(images, drawn[0].labels.clone(), data.preprocessing, data.classes, formation)

    @classmethod
    def from_noise(
        cls, data: Dataset, ipc: int, generator: torch.Generator, formation: Formation | None = None
    ) -> "SyntheticSet":
        """Start from noise: standard normal in network input space, uniform in [0, 1] where pixels are stored."""
        formation = formation or Formation()
        labels = torch.arange(data.num_classes).repeat_interleave(ipc)
        noise = torch.rand if formation.stored_as == "pixels" else torch.randn
        images = noise(len(labels), *data.image_shape, generator=generator)
        return cls(images.to(data.device), labels.to(data.device), data.preprocessing, data.classes, formation)

    def training_images(self) -> Split:
        """The training images that the stored ones stand for, in network input space; differentiable."""
        images = self.formation.cut(self.images)
        if self.formation.stored_as == "pixels":
            images = self.transform(images)
        return Split(images, self.formation.repeat(self.labels))

    def decode(self) -> Split:
        """:meth:`training_images`, detached: what a network is trained on."""
        split = self.training_images()
        return Split(split.images.detach(), split.labels)

    def pixels(self) -> Tensor:
        """The stored images as pictures, clipped to [0, 1]."""
        stored = self.images.detach()
        return (stored if self.formation.stored_as == "pixels" else self.transform.inverse(stored)).clamp(0, 1)

    def save(self, path: Path) -> None:
        """Write one self-describing safetensors file, whole or not at all."""
        tensors = {"images": self.images, "labels": self.labels, **self.transform.tensors()}
        if self.syn_lr is not None:
            tensors["syn_lr"] = self.syn_lr
        header = {"format": FORMAT, "classes": list(self.classes), "formation": asdict(self.formation)}
        files.write_tensors(path, tensors, {**header, **self.about})


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
    formation = Formation(**about.pop("formation", {}))
    images, labels = tensors["images"].to(device), tensors["labels"].to(device)
    return SyntheticSet(images, labels, from_tensors(tensors), classes, formation, tensors.get("syn_lr"), about)
