"""The set that is asked for, read with its data set, network and protocol: what it says itself, and what was typed."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cmidd.analysis.evaluation_settings import HELD_OUT, Request
from cmidd.data.load import DATASETS
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.evaluation.subject import Place, Recipe, Subject, foreign_subject, refuse_silent, subject_of
from cmidd.methods import METHODS
from cmidd.networks import NETWORKS
from cmidd.runs.settings import Settings
from cmidd.synthetic import foreign
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.places import header_of, is_own, place_of
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.checking import mapping
from cmidd.utils.errors import SettingError

# Data sets of one's own images, which may have the classes of another.
OWN_IMAGES = ("folder", "arrays")
# What a set of ours carries: its own file says it, and everything rests on it.
CARRIED = ("method", "recipe", "ipc", "dataset.zca", "dataset.statistics")
# What a protocol is composed from, beside the method that it is of.
OF_PROTOCOL = ("method", "recipe", "network", "cmi")


@dataclass(frozen=True)
class Asked:
    """A set to be evaluated as was asked for.

    Attributes:
        path: the set's.
        settings: those of a run like the one that made it, with what was typed.
        protocol: how networks are trained on it, and how many; its ``training`` is the subject's.
    """

    path: str
    subject: Subject
    settings: Settings
    protocol: EvaluationProtocol


def load_subject(request: Request, path: str, device: torch.device, synthetic: SyntheticSet | None = None) -> Asked:
    """Read a set and its data set.

    Args:
        synthetic: the set, where it was loaded; ``path`` is then what errors call it.

    Raises:
        SettingError: when the set is unreadable, or something it does not say is not given either.
    """
    place = Path(path) if synthetic is not None else place_of(Path(path))
    if synthetic is not None:
        device = synthetic.images.device
    elif is_own(place):
        synthetic, place = load_synthetic(place, device), header_of(place)
    found = _foreign(request, place, device) if synthetic is None else _own(request, place, synthetic, device)
    subject, settings, protocol = found
    if "evaluation.training.lr" in request.typed:
        subject.synthetic.forget_syn_lr()
    return Asked(path, subject, settings, replace(protocol, training=subject.recipe, optimizer=subject.optimizer))


def _own(
    request: Request, path: Path, synthetic: SyntheticSet, device: torch.device
) -> tuple[Subject, Settings, EvaluationProtocol]:
    about = refuse_silent(synthetic.about, str(path))
    for name in request.typed:
        if any(name == carried or name.startswith(f"{carried}.") for carried in CARRIED):
            raise SettingError(f"{request.value(name)}: {path} carries its own; leave {name} out")
    about = {**about, **{part: mapping(about[part], f"{path}: {part}") for part in ("data", "network", "training")}}
    before = _words_of(about)
    settings = request.composed(before, ["evaluation"] if "evaluation" in request.typed else [])
    protocol = _protocol(request, settings, before)
    asked = {
        **about,
        "data": _data(request, path, about["data"], settings),
        "network": _network(request, about["network"], settings),
        **_training(request, path, about, protocol),
    }
    return subject_of(synthetic, str(path), _place(settings, protocol, device), asked), settings, protocol


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


def _data(request: Request, path: Path, own: dict[str, Any], settings: Settings) -> dict[str, Any]:
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
    if settings.network["name"] != own.get("name"):
        return settings.network
    changed = {key: settings.network[key] for key in (name.partition(".")[2] for name in request.below("network"))}
    return {**own, **changed}


def _training(request: Request, path: Path, about: Mapping[str, Any], protocol: EvaluationProtocol) -> dict[str, Any]:
    """How networks are trained on the set: as it says, with what was typed, or as a protocol says."""
    said = asdict(protocol)
    if "evaluation" in request.typed:
        return {"training": said["training"], "optimizer": said["optimizer"]}
    training = copy.deepcopy(about["training"])
    optimizer = said["optimizer"] if "evaluation.optimizer" in request.typed else about.get("optimizer", "fresh")
    for name in request.below("evaluation"):
        *above, last = name.split(".")[1:]
        if above[:1] == ["training"] or last == "training":
            _put(training, [*above[1:], last] if above else [], _value(said, [*above, last]), f"{path}: training")
    return {"training": training, "optimizer": optimizer}


def _put(holder: dict[str, Any], keys: list[str], value: Any, where: str) -> None:
    if not keys:
        holder.update(value)
        return
    for key in keys[:-1]:
        holder[key] = holder = mapping(holder.get(key, {}), where)
    holder[keys[-1]] = value


def _value(settings: Any, keys: list[str]) -> Any:
    for key in keys:
        settings = settings[key]
    return settings


def _protocol(request: Request, settings: Settings, before: list[str]) -> EvaluationProtocol:
    """The protocol that was typed, with the values of the method that it is of; else that of the settings."""
    name = request.typed.get("evaluation")
    if name is None:
        return settings.evaluation
    others = [word for word in before if not word.startswith(("method=", "network="))]
    of_method = [f"method={name}"] if name in METHODS else [word for word in before if word.startswith("method=")]
    return request.composed([*others, *of_method], OF_PROTOCOL).evaluation


def _foreign(request: Request, path: Path, device: torch.device) -> tuple[Subject, Settings, EvaluationProtocol]:
    if not path.exists():
        raise SettingError(f"synthetic={path}: no such file or folder; give {foreign.KINDS}")
    guessed = dict(zip(("method", "dataset"), foreign.guess(path), strict=True))
    words = []
    for name, value in guessed.items():
        if name not in request.typed:
            if value is None:
                raise SettingError(f"{name}: {path} does not say it; give {name}=..., as for distill.py")
            words.append(f"{name}={value}")
    if request.typed.get("method", guessed["method"]) == "mtt" and "evaluation.training.lr" not in request.typed:
        raise SettingError(
            f"evaluation.training.lr: {path} does not hold the learned step size of MTT; give "
            "evaluation.training.lr=..."
        )
    found: list[tuple[Settings, EvaluationProtocol]] = []

    def recipe_of(ipc: int) -> Recipe:
        before = [*words, *([] if "ipc" in request.typed else [f"ipc={ipc}"])]
        settings = request.composed(before, ["evaluation"] if "evaluation" in request.typed else [])
        protocol = _protocol(request, settings, before)
        found.append((settings, protocol))
        return Recipe(settings.dataset, settings.network, settings.formation, protocol.training, protocol.optimizer)

    recipe_of(1)
    subject = foreign_subject(path, recipe_of, _place(*found[-1], device))
    return subject, *found[-1]


def _place(settings: Settings, protocol: EvaluationProtocol, device: torch.device) -> Place:
    """Where the data set is; of ``held_out`` tests ``dataset.validation`` is the part that chooses among them."""
    fraction = settings.dataset.get("validation") or HELD_OUT
    held_out = fraction if protocol.selection == "held_out" else None
    return Place(settings.data, device, Path(settings.buffers_root, "images"), held_out)
