"""Teachers that somebody else trained: files with state dicts, checked against network and data set."""

import hashlib
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmidd.compute.passes import in_shapes
from cmidd.data.dataset import Dataset
from cmidd.networks import NETWORKS, TORCHVISION, Network, OfTorchvision, blank_network, blank_of_torchvision
from cmidd.utils import files, tensor_files
from cmidd.utils.checking import mapping, own_of
from cmidd.utils.errors import SettingError, reason
from cmidd.utils.nested import at, differences

log = logging.getLogger(__name__)
PICKLED = (".pt", ".pth", ".tar")  # .pth.tar is what torch.save wrote, no archive of tar
SUFFIXES = (".safetensors", *PICKLED)
EXPERT = "trajectory"  # what the file of one of our experts holds: its parameters after epochs


@dataclass(frozen=True)
class TeacherFiles:
    """Which files a pool is read from: the hash of ``content``, and where they are (None in a record)."""

    content: str
    path: str | None = None


def find(path: str, size: int | None) -> tuple[TeacherFiles, int]:
    """The first ``size`` state dicts (None: all) of a folder in the order of their names and numbers, or a file.

    Raises:
        SettingError: when there are none or fewer, or one cannot be read.
    """
    found = paths_of(path)
    if size is not None and size > len(found):
        raise SettingError(f"cmi.pool={size}: cmi.teachers={path} holds {len(found)}; choose at most {len(found)}")
    contents = [content_of(read_state(each)[0]) for each in found[:size]]
    return TeacherFiles(content_of_all(contents), path), len(contents)


def paths_of(path: str) -> list[Path]:
    """The files with state dicts in a folder, or the one file."""
    place, what = Path(path).expanduser(), "give a folder of state dicts (.safetensors, .pt, .pth), or one such file"
    if not place.exists():
        raise SettingError(f"cmi.teachers={path}: no such file or folder; {what}")
    candidates = [each for each in (place.iterdir() if place.is_dir() else [place]) if each.suffix in SUFFIXES]
    made = [each for each in candidates if not (each.name.startswith(".") or files.is_unfinished(each))]
    found = [each for each in made if each.is_file()]
    if not found:
        raise SettingError(f"cmi.teachers={path}: holds no state dict; {what}")
    return sorted(found, key=lambda each: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", each.name)])


def content_of(state: Mapping[str, Tensor]) -> str:
    """A hash of the names, shapes, types and numbers of a state dict, whatever kind of file it was in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def content_of_all(contents: list[str]) -> str:
    """The hash of a pool from those of its teachers."""
    return hashlib.sha256(" ".join(contents).encode()).hexdigest()[:16]


def read_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a state dict in the order of the file, and the network's options where a header says them (those
    of our own pools do). Nothing in the file is executed; the prefix of ``DataParallel`` is dropped. Of an expert it is
    the last row alone, flat.

    Raises:
        SettingError: when it is damaged, or no state dict.
    """
    about: dict[str, Any] = {}
    if path.suffix in PICKLED:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged or unsafe file
            raise SettingError(
                f"cmi.teachers: {path}: cannot be read as tensors ({reason(error)}); save it with torch.save of a "
                "state_dict()"
            ) from error
    else:
        state, about = tensor_files.read_tensors(path)
        if EXPERT in state and state[EXPERT].ndim == 2:
            state = {EXPERT: state[EXPERT][-1].float()}
    if not isinstance(state, dict) or not state or not all(map(_is_dense, state.values())):
        raise SettingError(
            f"cmi.teachers: {path}: is no state dict, which has only names and tensors; save it with torch.save of a "
            "state_dict() alone"
        )
    if all(str(name).startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    made_by = about.get("made_by", {})
    options = made_by.get("network", {}) if isinstance(made_by, dict) else {}
    return {str(name): tensor.detach() for name, tensor in state.items()}, mapping(options, f"{path}: network")


def warn_of_other_data(paths: Sequence[Path], data: Mapping[str, Any]) -> None:
    """Say so where a file says that its network was trained on data prepared otherwise than a run's (with ZCA, say).

    Args:
        data: what names caches of the run's data (:attr:`cmidd.core.context.Context.data_key`).
    """
    for path in paths:
        trained_on = None if path.suffix in PICKLED else at(tensor_files.read_shapes(path)[1], "made_by.data")
        differing = differences(trained_on, files.as_json(data)) if isinstance(trained_on, dict) else []
        if found := [each for each in differing if each[0] not in ("content", "fill", "preprocessing")]:
            settings = ", ".join(f"{name}={json.dumps(old)} (here {json.dumps(new)})" for name, old, new in found)
            log.warning("cmi.teachers: %s was trained on data of %s; it is used all the same", path, settings)
            return


def _is_dense(value: object) -> bool:
    return (
        isinstance(value, Tensor) and value.layout == torch.strided and not (value.is_quantized or value.is_complex())
    )


def refuse_unfit(path: str, size: int, teacher: str, data: Dataset, network: dict[str, Any]) -> None:
    """Check that the first ``size`` files hold such teachers of this data set, before any work.

    Raises:
        SettingError: naming the file, what differs and the way out.
    """
    for each in paths_of(path)[:size]:
        fitted(each, *read_state(each), teacher, data, network)


def fitted(
    path: Path,
    state: dict[str, Tensor],
    options: dict[str, Any],
    teacher: str,
    data: Dataset,
    network: dict[str, Any],
) -> tuple[Network, dict[str, Tensor]]:
    """The blank network that a file's state dict fits, and that state dict under the network's names.

    A pickled state dict keeps the order in which its network was defined, so one of another implementation (the
    published pre-training of CMI) fits where the shapes are the same, one after another.

    Args:
        options: of the network, from the file; else they are those of the run's ``network`` where it is of the same
            name, or the defaults.
    """
    where = f"cmi.teachers: {path}:"
    blank = _blank(where, options, teacher, data, network)
    wanted = blank.state_dict()
    if set(state) == {EXPERT}:
        state = _of_expert(where, state[EXPERT], blank, teacher)
    names = {blank.saved_as(name) if isinstance(blank, OfTorchvision) else name: name for name in wanted}
    if path.suffix in PICKLED and set(state) != set(names) and len(state) == len(names):
        state = dict(zip(names, _block_by_block(state).values(), strict=True))
    for kind, differing in (("lacks", set(names) - set(state)), ("also holds", set(state) - set(names))):
        if differing:
            raise SettingError(
                f"{where} {kind} {min(differing)}, compared with cmi.teacher={teacher}; choose the cmi.teacher that it "
                f"was saved from, one of {', '.join(NETWORKS)}, {TORCHVISION}<name>"
            )
    for saved, name in names.items():
        found, shape = state[saved], list(wanted[name].shape)
        if list(found.shape) != shape:
            raise SettingError(
                f"{where} {saved} of shape {list(found.shape)}, where cmi.teacher={teacher} for the "
                f"{data.num_classes} classes and images of {'x'.join(map(str, data.image_shape))} of {data.name} has "
                f"{shape}; choose the cmi.teacher that it was saved from, or give teachers of this data set"
            )
        if not found.isfinite().all():
            raise SettingError(f"{where} {saved} holds numbers that are not finite; leave this file out")
    return blank, {name: state[saved] for saved, name in names.items()}


def _block_by_block(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same in the order of a ConvNet's blocks, where all convolutions come before all norms (IDC's, NCFM's)."""

    def place(name: str) -> tuple[float, str]:
        found = re.fullmatch(r"layers\.(conv|norm)\.(\d+)\.(weight|bias)", name)
        return (int(found[2]), found[1]) if found else (math.inf, "")

    return {name: state[name] for name in sorted(state, key=place)} if "layers.conv.0.weight" in state else state


def _of_expert(where: str, row: Tensor, blank: Network, teacher: str) -> dict[str, Tensor]:
    """A row ``[P]`` of an expert as the state dict of its network."""
    size = sum(parameter.numel() for parameter in blank.parameters())
    if buffers := dict(blank.named_buffers()):
        raise SettingError(
            f"{where} is an expert, and experts keep no {min(buffers)}, which cmi.teacher={teacher} has; give a "
            "network's state dict"
        )
    if row.shape != (size,):
        raise SettingError(
            f"{where} is an expert with {row.numel()} parameters, where cmi.teacher={teacher} has {size}; choose "
            "the cmi.teacher that it is, or give experts of this data set"
        )
    return in_shapes(row, blank)


def _blank(where: str, options: dict[str, Any], teacher: str, data: Dataset, network: dict[str, Any]) -> Network:
    if teacher.startswith(TORCHVISION):
        return blank_of_torchvision(teacher, data.image_shape, data.num_classes)
    own = options or (network if network["name"] == teacher else {"name": teacher})
    if own.get("name") != teacher:
        raise SettingError(
            f"{where} holds a {own.get('name')}, not cmi.teacher={teacher}; choose cmi.teacher={own.get('name')}"
        )
    return blank_network(teacher, data.image_shape, data.num_classes, **own_of(NETWORKS, own, where))
