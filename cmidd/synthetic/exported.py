"""Synthetic sets as folders that any tool can read: PNGs, ``labels.csv``, and a JSON with all the rest.

``synthetic.json`` says what the header of ``synthetic.safetensors`` says, the preprocessing, and the learned step
sizes. A whitening has millions of numbers: they lie in ``zca.safetensors`` beside it, and soft labels in
``soft_labels.safetensors``, as exact as in the set.
"""

import dataclasses
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from cmidd.data.preprocessing import expected_shapes, from_tensors
from cmidd.synthetic import pictures
from cmidd.synthetic.places import CARD
from cmidd.synthetic.soft_labels import Kind
from cmidd.synthetic.synthetic_set import ClassName, SyntheticSet
from cmidd.utils import files, tensor_files
from cmidd.utils.checking import checked
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Count, Name, NonNegative, Positive

log = logging.getLogger(__name__)
ZCA, SOFT = "zca.safetensors", "soft_labels.safetensors"
ROUNDING = 1 / 510  # half a step of eight bits
Side = Annotated[int, Field(strict=True, gt=0, le=100_000)]


@dataclass(frozen=True, kw_only=True)
class EarlierStage:
    """How many of the images, in their order, belong to a finished stage, and the step size learned with them."""

    images: Count
    syn_lr: Positive | None = None


@dataclass(frozen=True, kw_only=True)
class Preprocessed:
    """Each channel's mean and deviation; with ``zca`` neither, but the whitening in ``zca.safetensors``."""

    zca: Annotated[bool, Field(strict=True)]
    mean: list[Annotated[float, Field(strict=True)]] = field(default_factory=list)
    std: list[Positive] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Card:
    """``synthetic.json``: what the pictures do not show. From ``dataset`` on it is what the set is ``about``."""

    format: Literal[1]
    classes: Annotated[list[ClassName], Field(min_length=1)]
    image_shape: Annotated[list[Side], Field(min_length=3, max_length=3)]
    preprocessing: dict[str, Any]
    formation: dict[str, Any] = field(default_factory=dict)
    syn_lr: Positive | None = None
    earlier_stages: list[dict[str, Any]] = field(default_factory=list)
    soft_labels: Kind | None = None
    dataset: Name | None = None
    method: Name | None = None
    system: Name | None = None
    ipc: Count | None = None
    seed: Annotated[int, Field(strict=True, ge=0)] | None = None
    cmi: NonNegative | dict[str, Any] | None = None
    data: dict[str, Any] | None = None
    network: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    optimizer: str | None = None
    content: Name | None = None


OF_PICTURES = {"image_shape", "preprocessing", "syn_lr", "earlier_stages"}  # In a safetensors file these are tensors.


def export(synthetic: SyntheticSet, folder: Path) -> None:
    """Write a set into a new folder, whole or not at all.

    Pictures have eight bits a channel and nothing outside [0, 1]: read again, every value is within 1/510 of the
    set's as a pixel; where images go beyond [0, 1], as whitened ones often do, what was clipped is lost, and the log
    says how much that is. ``labels.csv`` holds the hard labels.

    Raises:
        SettingError: when the folder exists and is not empty.
    """
    with pictures.new_folder(folder) as beside:
        warn_of_clipping(synthetic.raw_pixels())
        pictures.export(synthetic.pixels(), synthetic.labels, synthetic.classes, beside)
        if "zca_mean" in (whitening := synthetic.transform.tensors()):
            tensor_files.write_tensors(beside / ZCA, whitening, {})
        if (soft := synthetic.all_soft_labels) is not None:
            tensor_files.write_tensors(beside / SOFT, {"soft_labels": soft.values}, {})
        files.write_json(beside / CARD, _card(synthetic))


def warn_of_clipping(raw: Tensor) -> None:
    """Say how much of pixels of any shape a picture does not hold."""
    if clipped := float(((raw - 0.5).abs() > 0.5 + ROUNDING).double().mean()):
        log.warning(
            "%.2g %% of the pixel values lie outside [0, 1] and are clipped: a network that is trained on the pictures "
            "sees other images than the set's; to train without that loss, give the safetensors file",
            100 * clipped,
        )


def _card(synthetic: SyntheticSet) -> dict[str, Any]:
    tensors, header = synthetic.stored()
    known = {each.name for each in dataclasses.fields(Card)}
    if unknown := sorted(header.keys() - known):
        log.warning("%s: said in the header of the set, but nothing that %s holds", ", ".join(unknown), CARD)
    zca = "zca_mean" in tensors
    learned = {name: float(tensor.detach()) for name, tensor in tensors.items() if name.startswith("syn_lr")}
    earlier = [
        {"images": len(stage.labels), "syn_lr": learned.get(f"syn_lr_{number}")}
        for number, stage in enumerate(synthetic.finished)
    ]
    return {
        **{name: value for name, value in header.items() if name in known},
        "image_shape": list(synthetic.images.shape[1:]),
        "preprocessing": {"zca": zca, **({} if zca else {name: tensors[name].tolist() for name in ("mean", "std")})},
        "syn_lr": learned.get("syn_lr"),
        **({"earlier_stages": earlier} if earlier else {}),
    }


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of ``synthetic.safetensors``, from a folder that :func:`export` wrote; the images are
    those of the pictures.

    Raises:
        SettingError: naming the file, and what in it is damaged, missing or unknown.
    """
    path = folder / CARD
    card = _read_card(path)
    pixels, labels = pictures.read(folder, card.classes, card.image_shape)
    transform = _transform(folder, card, pixels)
    in_pixels = card.formation.get("stored_as") == "pixels"
    tensors = {**transform, "images": pixels if in_pixels else from_tensors(transform)(pixels), "labels": labels}
    if card.soft_labels is not None:
        found, _ = tensor_files.read_tensors(folder / SOFT)
        tensors.update({name: tensor for name, tensor in found.items() if name == "soft_labels"})
    stages = [EarlierStage(**_part(path, EarlierStage, each, "earlier_stages")) for each in card.earlier_stages]
    sizes = [stage.images for stage in stages]
    if (rest := len(labels) - sum(sizes)) < 1:
        raise SettingError(f"{path}: earlier_stages: {sum(sizes)} images of {len(labels)}; leave some for the last one")
    if stages:
        tensors["stages"] = torch.arange(len(sizes) + 1).repeat_interleave(torch.tensor([*sizes, rest]))
    rates = {"syn_lr": card.syn_lr, **{f"syn_lr_{number}": stage.syn_lr for number, stage in enumerate(stages)}}
    tensors.update({name: torch.tensor(lr) for name, lr in rates.items() if lr is not None})
    header = {each.name: getattr(card, each.name) for each in dataclasses.fields(Card) if each.name not in OF_PICTURES}
    return tensors, {name: value for name, value in header.items() if value is not None}


def _read_card(path: Path) -> Card:
    content = files.read_json(path)
    if not isinstance(content, dict):
        raise SettingError(f"{path}: holds {str(content)[:40]!r} instead of what a set says of itself; export it again")
    return Card(**_part(path, Card, content, ""))


def _part(path: Path, kind: type, content: dict[str, Any], where: str) -> dict[str, Any]:
    """The checked fields of what the JSON holds at ``where``."""
    try:
        return checked(kind, content, where)
    except SettingError as error:
        raise SettingError(f"{path}: {error} -- repair it, or export the set again") from error


def _transform(folder: Path, card: Card, pixels: Tensor) -> dict[str, Tensor]:
    """The tensors of the preprocessing."""
    path = folder / CARD
    given = Preprocessed(**_part(path, Preprocessed, card.preprocessing, "preprocessing"))
    tensors = {name: torch.tensor(value) for name, value in (("mean", given.mean), ("std", given.std)) if value}
    if given.zca and tensors:
        raise SettingError(f"{path}: preprocessing.{next(iter(tensors))}: with zca there is none; remove it")
    if given.zca:
        tensors = tensor_files.read_tensors(folder / ZCA)[0]
    for name, shape in expected_shapes({"zca_mean": pixels, **tensors} if given.zca else {}, pixels).items():
        if name not in tensors or list(tensors[name].shape) != shape:
            where = folder / ZCA if given.zca else f"{path}: preprocessing"
            has = list(tensors[name].shape) if name in tensors else "nothing"
            raise SettingError(f"{where}.{name}: {has} instead of {shape}; repair it, or export the set again")
    return tensors
