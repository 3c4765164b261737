"""Reading a synthetic set of our own."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmidd.data.preprocessing import expected_shapes, from_tensors
from cmidd.synthetic import exported
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.places import CARD, SET, header_of, place_of
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.synthetic.synthetic_set import Header, Stage, SyntheticSet
from cmidd.utils import tensor_files
from cmidd.utils.checking import checked, validate
from cmidd.utils.errors import SettingError
from cmidd.utils.torch_defaults import torch_defaults

OF_OTHERS = (".pt", ".pth", ".pkl", ".npz")


@torch_defaults()
def load_synthetic(path: str | Path, device: torch.device | str = "cpu") -> SyntheticSet:
    """Read a synthetic set: ready images, labels, the matching test transform, the learned step size.

    Args:
        path: a run's folder, its ``synthetic.safetensors``, or a folder that ``export.py`` wrote. The last holds all
            but what eight-bit pictures lose (:func:`cmidd.synthetic.exported.export`).

    Raises:
        SettingError: when there is none, or it is damaged, unfinished, or not a synthetic set of this project.
    """
    path = place_of(Path(path))
    tensors, about = _read(path)
    path = header_of(path)
    validate(path, about, Header)
    kind = about.pop("soft_labels", None)
    if flaw := _flaw(tensors, len(about["classes"])) or _soft_flaw(tensors, kind):
        raise SettingError(f"{path}: {flaw}; give a synthetic.safetensors that distill.py wrote")
    del about["format"]
    classes = tuple(about.pop("classes"))
    formation = Formation(**checked(Formation, about.pop("formation", {}), f"{path}: formation"))
    images, labels = tensors["images"].to(device), tensors["labels"].to(device)
    stage_of = tensors.get("stages", torch.zeros(len(labels), dtype=torch.int64)).to(device)
    count = int(stage_of.max()) + 1
    parts = [(images[stage_of == stage], labels[stage_of == stage]) for stage in range(count)]
    soft: list[SoftLabels | None] = [None] * count
    if kind is not None:
        whole = SoftLabels(tensors["soft_labels"].to(device, torch.float32), kind)
        whole.check(len(labels), len(classes), f"{path}")
        soft = [SoftLabels(whole.values[stage_of == stage], kind) for stage in range(count)]
    finished = [Stage(*part, tensors.get(f"syn_lr_{k}"), soft[k]) for k, part in enumerate(parts[:-1])]
    transform, syn_lr = from_tensors(tensors), tensors.get("syn_lr")
    return SyntheticSet(*parts[-1], transform, classes, formation, syn_lr, about, finished, soft[-1])


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header of a set."""
    if path.is_dir():
        if not (path / CARD).is_file():
            raise SettingError(f"{path}: no {SET} or {CARD} in it; give a run's folder, or one that export.py wrote")
        return exported.read(path)
    if not path.is_file():
        raise SettingError(f"{path}: no such file; give a {SET} that distill.py wrote, or the run's folder")
    if path.suffix in OF_OTHERS:
        raise SettingError(f"{path}: a set of others, which only evaluate.py reads; give a {SET} that distill.py wrote")
    return tensor_files.read_tensors(path)


def _soft_flaw(tensors: dict[str, Tensor], kind: str | None) -> str | None:
    """What is wrong between soft labels and what the header says of them."""
    if ("soft_labels" in tensors) == (kind is not None):
        return None
    if kind is None:
        return "soft_labels without the header's word whether they are logits or probabilities"
    return f"no soft_labels, which the header calls {kind}"


def _flaw(tensors: dict[str, Tensor], num_classes: int) -> str | None:
    """What is wrong with the tensors of a file, in words."""
    images, labels = (tensors.get(name, torch.empty(0)) for name in ("images", "labels"))
    if images.ndim != 4 or images.numel() == 0 or labels.shape != images.shape[:1]:
        return f"images {list(images.shape)} and labels {list(labels.shape)} instead of [N, C, H, W] and [N]"
    stages = tensors.get("stages", torch.zeros_like(labels))
    for name, whole in (("labels", labels), ("stages", stages)):
        if whole.dtype != torch.int64 or whole.shape != labels.shape:
            return f"{name} {list(whole.shape)} of {whole.dtype} instead of one int64 for every image"
    if int(labels.min()) < 0 or int(labels.max()) >= num_classes:
        return f"labels from {int(labels.min())} to {int(labels.max())} for {num_classes} classes"
    if (found := stages.unique().tolist()) != list(range(len(found))):
        return f"stages {found[:5]} instead of 0, 1, ..."
    for name, shape in expected_shapes(tensors, images).items():
        if name not in tensors or list(tensors[name].shape) != shape:
            has = list(tensors[name].shape) if name in tensors else "nothing"
            return f"{name} {has} instead of {shape} for images {list(images.shape[1:])}"
    for name, tensor in tensors.items():
        if name not in ("labels", "stages") and not (tensor.is_floating_point() and tensor.isfinite().all()):
            return f"{name} of {tensor.dtype} with other than finite floating-point numbers"
        if name == "std" and not (tensor > 0).all():
            return f"std {tensor.tolist()} instead of positive numbers"
        if name.startswith("syn_lr") and (tensor.ndim > 0 or tensor <= 0):
            return f"{name} {tensor.flatten().tolist()[:3]} instead of one positive number"
    return None
