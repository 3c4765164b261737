"""The set that is asked for, read with its data set, network and protocol: what it says itself, and what was typed."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cmidd.analysis.evaluations.foreign import foreign_set
from cmidd.analysis.evaluations.protocol import Asked, finished, place_to_read, protocol_of
from cmidd.analysis.evaluations.settings import Request
from cmidd.data.load import DATASETS
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.evaluation.subject import refuse_silent, subject_of
from cmidd.methods import METHODS
from cmidd.networks import NETWORKS
from cmidd.runs.settings import Settings
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.places import header_of, is_own, place_of
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.checking import mapping
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import among, at

# Data sets of one's own images, which may have the classes of another.
OWN_IMAGES = ("folder", "arrays")
# What a set of ours carries: its own file says it, and everything rests on it.
CARRIED = ("method", "maker", "recipe", "ipc", "dataset.zca", "dataset.statistics")


def load_subject(request: Request, path: str, device: torch.device, synthetic: SyntheticSet | None = None) -> Asked:
    """Read a set and its data set.

    Args:
        synthetic: the set, where it was loaded; ``path`` is then what errors call it.

    Raises:
        SettingError: when the set is unreadable, or something it does not say is not given either.
    """
    if synthetic is not None:
        return _own(request, path, Path(path), synthetic, synthetic.images.device)
    place = place_of(Path(path))
    if is_own(place):
        return _own(request, path, header_of(place), load_synthetic(place, device), device)
    return foreign_set(request, path, place, device)


def _own(request: Request, name: str, path: Path, synthetic: SyntheticSet, device: torch.device) -> Asked:
    about = refuse_silent(synthetic.about, str(path))
    if others_beside(request):
        request = request.without((*CARRIED, "dataset"))
    for typed in request.typed:
        if among(typed, CARRIED):
            raise SettingError(f"{request.value(typed)}: {name} carries its own; leave {typed} out")
    about = {**about, **{part: mapping(about[part], f"{path}: {part}") for part in ("data", "network", "training")}}
    before = _words_of(about)
    settings = request.composed(before, ["evaluation"] if "evaluation" in request.typed else [])
    protocol = protocol_of(request, settings, before, request.typed.get("evaluation"))
    asked = {
        **about,
        "data": _data(request, name, about["data"], settings),
        "network": _network(request, about["network"], settings),
        **_training(request, path, about, protocol),
    }
    subject = subject_of(synthetic, str(path), place_to_read(settings, protocol, device), asked)
    return finished(request, Asked(name, subject, settings, protocol))


def others_beside(request: Request) -> bool:
    """Whether some of the sets are others', of which method and data set are typed: then not of ours."""
    paths = [Path(path) for path in request.own.synthetic]
    return len(paths) > 1 and any(path.exists() and not is_own(place_of(path)) for path in paths)


def _words_of(about: Mapping[str, Any]) -> list[str]:
    """What a set says of itself as words, as far as this version knows the names."""
    data, network, ipc = about["data"], about["network"], about.get("ipc")
    names: dict[str, tuple[Any, Collection[str]]] = {
        "method": (about.get("method"), METHODS),
        "dataset": (data.get("name"), DATASETS),
        "network": (network.get("name"), NETWORKS),
    }
    words = [f"{group}={name}" for group, (name, known) in names.items() if isinstance(name, str) and name in known]
    return [*words, *([f"ipc={ipc}"] if type(ipc) is int and ipc > 0 else [])]


def _data(request: Request, path: str, own: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The settings of the data set, which may be one's own images of the same classes instead."""
    chosen = settings.dataset
    if "dataset" in request.typed and chosen["name"] != own.get("name"):
        if chosen["name"] not in OWN_IMAGES:
            raise SettingError(f"dataset={chosen['name']}: {path} carries its own; leave dataset out")
        return {key: value for key, value in chosen.items() if key not in ("zca", "statistics")}
    found = {**own, "validation": 0.0}
    for name in request.below("dataset"):
        key = name.partition(".")[2]
        if key in ("augment", "teacher") and "evaluation" not in request.typed:
            instead = "evaluation.training.augment.strategy" if key == "augment" else "cmi.teacher"
            raise SettingError(f"{request.value(name)}: {path} carries its own training; give {instead}=... instead")
        found.pop(key, None)
        found |= {key: chosen[key]} if key in chosen else {}
    return found


def _network(request: Request, own: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The set's own network, in the form that it was made with, or another."""
    if "network" in request.typed and settings.network["name"] != own.get("name"):
        return settings.network
    typed = [name.partition(".")[2] for name in request.below("network")]
    return {**own, **{key: settings.network[key] for key in typed}}


def _training(request: Request, path: Path, about: Mapping[str, Any], protocol: EvaluationProtocol) -> dict[str, Any]:
    """How networks are trained on the set: as it says, with what was typed, or as a protocol says."""
    said = asdict(protocol)
    if "evaluation" in request.typed:
        return {"training": said["training"], "optimizer": said["optimizer"]}
    training = copy.deepcopy(about["training"])
    optimizer = said["optimizer"] if "evaluation.optimizer" in request.typed else about.get("optimizer", "fresh")
    for name in request.typed:
        if among(name, ["evaluation.training"]):
            _put(training, name.split(".")[2:], at(said, name.partition(".")[2]), f"{path}: training")
    return {"training": training, "optimizer": optimizer}


def _put(holder: dict[str, Any], keys: list[str], value: Any, where: str) -> None:
    if not keys:
        holder.update(value)
        return
    for key in keys[:-1]:
        holder[key] = holder = mapping(holder.get(key, {}), where)
    holder[keys[-1]] = value
