"""The synthetic set: learnable images with their labels, and everything needed to train on them elsewhere."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

import torch
from pydantic import Field
from torch import Tensor
from typing_extensions import TypedDict

from cmidd.data.dataset import Dataset
from cmidd.data.preprocessing import Preprocessing
from cmidd.data.split import Split, shape_of
from cmidd.synthetic import pictures
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.soft_labels import Kind, SoftLabels
from cmidd.utils import tensor_files

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ClassName = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Header(TypedDict):
    """The header of ``synthetic.safetensors``."""

    format: Literal[1]
    classes: Annotated[list[ClassName], Field(min_length=1)]
    formation: NotRequired[dict[str, Any]]
    soft_labels: NotRequired[Kind]


FORMAT = 1


@dataclass
class Stage:
    """Images whose training is finished, with their labels and the step size that was learned with them."""

    images: Tensor
    labels: Tensor
    syn_lr: Tensor | None
    soft_labels: SoftLabels | None = None


@dataclass(repr=False)
class SyntheticSet:
    """Distilled images ``[N, C, H, W]`` with labels, stored as their ``formation`` says.

    Attributes:
        leaf: the images that are being trained: all of them, or where a schedule divides the set, those of its current
            stage. :attr:`images` and :attr:`labels` are always those of all stages so far.
        leaf_labels: their hard labels ``[N]``: the class that each image stands for, also where there are soft ones.
        transform: what real pixels in [0, 1] must go through before a network trained on the set sees
            them; its ``inverse`` turns network input into pictures.
        classes: the name of each label.
        formation: how the stored images stand for training images.
        syn_lr: the learned step size (a scalar) where the method learns one, else None.
        about: how it was made: data set, method, ipc, seed and the training recipe of its evaluation.
        finished: the stages before, in order.
        soft_labels: of :attr:`leaf`, where the set has any: what networks are trained on if their recipe says so.
            :attr:`all_soft_labels` are those of all stages.
    """

    leaf: Tensor
    leaf_labels: Tensor
    transform: Preprocessing
    classes: tuple[str, ...]
    formation: Formation = field(default_factory=Formation)
    syn_lr: Tensor | None = None
    about: dict[str, Any] = field(default_factory=dict)
    finished: list[Stage] = field(default_factory=list)
    soft_labels: SoftLabels | None = None
    _kept: dict[str, tuple[list[Tensor], Tensor]] = field(default_factory=dict, init=False, compare=False)

    @classmethod
    def from_real(
        cls, data: Dataset, ipc: int, generator: torch.Generator, formation: Formation | None = None
    ) -> "SyntheticSet":
        """Start from random training images of every class: distinct ones, ``ipc`` for every tile of the grid."""
        data.check_ipc(ipc)
        formation = formation or Formation()
        return cls.from_batches(data, [data.class_batches(ipc, generator) for _ in range(formation.tiles)], formation)

    @classmethod
    def from_batches(cls, data: Dataset, drawn: Sequence[Split], formation: Formation) -> "SyntheticSet":
        """Start from real images: one class batch for every tile of the grid."""
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

    @property
    def images(self) -> Tensor:
        """All stored images ``[N, C, H, W]``, stage after stage; differentiable in :attr:`leaf`."""
        return torch.cat([*(stage.images for stage in self.finished), self.leaf]) if self.finished else self.leaf

    @property
    def labels(self) -> Tensor:
        """The label of every image ``[N]``."""
        labels = [*(stage.labels for stage in self.finished), self.leaf_labels]
        return self._joined("labels", labels) if self.finished else self.leaf_labels

    @property
    def all_soft_labels(self) -> SoftLabels | None:
        """The soft labels of every image ``[N, C]``, where the set has any; differentiable in :attr:`soft_labels`."""
        if self.soft_labels is None or not self.finished:
            return self.soft_labels
        stages = [stage.soft_labels.values for stage in self.finished if stage.soft_labels is not None]
        return SoftLabels(torch.cat([*stages, self.soft_labels.values]), self.soft_labels.kind)

    @property
    def stages(self) -> Tensor:
        """The stage of every image ``[N]``, from 0."""
        sizes = [*(len(stage.labels) for stage in self.finished), len(self.leaf_labels)]
        return torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(self.labels.device)

    def begin_stage(self, images: Tensor, labels: Tensor, soft_labels: SoftLabels | None = None) -> None:
        """Finish what was trained so far, never to change again, and go on with new images.

        Raises:
            ValueError: when of the stages before and this one only some have soft labels, or of another kind.
        """
        before, now = (None if each is None else each.kind for each in (self.soft_labels, soft_labels))
        if before != now:
            raise ValueError(f"a stage with soft labels of the kind {now} after one of the kind {before}")
        lr = None if self.syn_lr is None else self.syn_lr.detach()
        soft = None if self.soft_labels is None else SoftLabels(self.soft_labels.values.detach(), self.soft_labels.kind)
        self.finished.append(Stage(self.leaf.detach(), self.leaf_labels, lr, soft))
        self.leaf, self.leaf_labels, self.syn_lr, self.soft_labels = images, labels, None, soft_labels

    @torch.no_grad()
    def clamp_pixels(self) -> None:
        """Bring the leaf into [0, 1] where it holds pixels; network input has no bounds."""
        if self.formation.stored_as == "pixels":
            self.leaf.clamp_(0, 1)

    def forget_syn_lr(self) -> None:
        """Drop the learned step sizes of all stages."""
        self.syn_lr = None
        for stage in self.finished:
            stage.syn_lr = None

    def training_images(self) -> Split:
        """The training images that the stored ones stand for, in network input space, and their labels, the soft ones
        as logits; differentiable.
        """
        images = self.formation.cut(self.images)
        if self.formation.stored_as == "pixels":
            images = self.transform(images)
        soft = self.all_soft_labels
        logits = None if soft is None else self.formation.repeat(soft.logits)
        return Split(images, self.training_labels, soft=logits)

    @property
    def training_labels(self) -> Tensor:
        """The label of every image of :meth:`training_images`."""
        labels, tiles = self.labels, self.formation.tiles
        return self._joined("training labels", [labels] * tiles) if tiles > 1 else labels

    def _joined(self, name: str, parts: list[Tensor]) -> Tensor:
        """Parts after one another: the same tensor from step to step, so that what is known of it stays known
        (:mod:`cmidd.data.known_labels`).
        """
        kept, joined = self._kept.get(name, ([], self.leaf_labels))
        if len(kept) != len(parts) or any(one is not other for one, other in zip(kept, parts, strict=True)):
            joined = torch.cat(parts)
            self._kept[name] = parts, joined
        return joined

    def decode(self) -> Split:
        """:meth:`training_images`, detached: what a network is trained on."""
        split = self.training_images()
        soft = None if split.soft is None else split.soft.detach()
        return Split(split.images.detach(), split.labels, soft=soft)

    def decode_stages(self) -> list[tuple[Split, Tensor | None]]:
        """What a network is trained on in turn: :meth:`decode` of the first stage, of the first two, and so on, each
        with its learned step size, where there is one. For a set of one stage that is :meth:`decode`.
        """
        everything, stage_of = self.decode(), self.formation.repeat(self.stages)
        rates = [*(stage.syn_lr for stage in self.finished), self.syn_lr]
        last = len(rates) - 1
        return [(everything if k == last else everything[stage_of <= k], lr) for k, lr in enumerate(rates)]

    def raw_pixels(self, which: Tensor | slice = slice(None)) -> Tensor:
        """The stored images, or those of an index, as pixels, of which some may lie outside [0, 1]."""
        stored = self.images.detach()[which]
        return stored if self.formation.stored_as == "pixels" else self.transform.inverse(stored)

    def pixels(self, which: Tensor | slice = slice(None)) -> Tensor:
        """The stored images, or those of an index, as pictures, clipped to [0, 1]."""
        return self.raw_pixels(which).clamp(0, 1)

    def first_of_classes(self, classes: int = 10, each: int = 10) -> Tensor:
        """The index of the first so many images of the first classes: what is shown of a large set."""
        found = [(self.labels == label).nonzero()[:each, 0] for label in range(min(classes, len(self.classes)))]
        return torch.cat(found)

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors and the header of the set's file."""
        tensors = {"images": self.images, "labels": self.labels, **self.transform.tensors()}
        if self.syn_lr is not None:
            tensors["syn_lr"] = self.syn_lr
        if self.finished:
            tensors["stages"] = self.stages
            tensors.update({f"syn_lr_{k}": s.syn_lr for k, s in enumerate(self.finished) if s.syn_lr is not None})
        header = {"format": FORMAT, "classes": list(self.classes), "formation": asdict(self.formation)}
        if (soft := self.all_soft_labels) is not None:
            tensors["soft_labels"], header["soft_labels"] = soft.values, soft.kind
        return tensors, {**header, **self.about}

    def __repr__(self) -> str:
        """Two lines: what there is, and what it was made of."""
        each, tiles = len(self.labels) // len(self.classes), self.formation.tiles
        learned = "" if self.syn_lr is None else f", learned step size {float(self.syn_lr.detach()):.3g}"
        soft = "" if self.soft_labels is None else f", soft labels ({self.soft_labels.kind})"
        made = f"\n  {self.about['method']} on {self.about['dataset']}" if "method" in self.about else ""
        return (
            f"SyntheticSet({len(self.labels)} images {shape_of(self.leaf)}, {each} of each of {len(self.classes)} "
            f"classes{f', each holding {tiles} to train on' if tiles > 1 else ''}{soft}{learned}{made})"
        )

    def show(self, columns: int = 10, axes: "Axes | None" = None) -> "Axes":
        """Draw the images, a row of at most ``columns`` a class with its name (:func:`cmidd.synthetic.pictures.show`).

        Args:
            axes: where to draw; a figure of its own otherwise.
        """
        return pictures.show(self.pixels(), self.labels, self.classes, columns, axes)

    def save(self, path: Path) -> None:
        """Write one self-describing safetensors file, whole or not at all."""
        tensor_files.write_tensors(path, *self.stored())
