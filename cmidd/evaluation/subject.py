"""A synthetic set to be evaluated, ours or another's, with all that this needs."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from cmidd.compute.training import TrainingRecipe
from cmidd.data.dataset import Dataset
from cmidd.data.load import DataSettings, check_dataset, load_dataset
from cmidd.evaluation.train_on_set import Optimizer
from cmidd.networks import NETWORKS
from cmidd.synthetic import foreign
from cmidd.synthetic.classes import by_name
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.places import header_of
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.checking import checked, choose, mapping, own_of
from cmidd.utils.errors import SettingError


@dataclass(frozen=True)
class Subject:
    """A synthetic set with the real data that tests it and the network and recipe it was made for.

    ``optimizer``: what a network takes from one stage of the set to the next
    (:class:`cmidd.evaluation.protocols.EvaluationProtocol`). ``reordered``: whether the set counts the classes in
    another order than the data set; its labels are then mapped by their names.
    """

    synthetic: SyntheticSet
    data: Dataset
    network: dict[str, Any]
    recipe: TrainingRecipe
    optimizer: Optimizer = "fresh"
    reordered: bool = False


@dataclass(frozen=True)
class Recipe:
    """What a method's recipe says for a data set and number of images per class."""

    dataset: dict[str, Any]
    network: dict[str, Any]
    formation: Formation
    training: TrainingRecipe


def own_subject(path: Path, where: DataSettings, device: torch.device, cache: Path | None = None) -> Subject:
    """A set of ours, wherever :func:`load_synthetic` finds one: it says all that is needed.

    Args:
        cache: where decoded pictures are kept, as for :func:`cmidd.data.load.load_dataset`.

    Raises:
        SettingError: when it is damaged, or does not fit the data set that lies there.
    """
    return subject_of(load_synthetic(path, device), str(header_of(path)), where, device, cache)


def subject_of(
    synthetic: SyntheticSet, path: str, where: DataSettings, device: torch.device, cache: Path | None = None
) -> Subject:
    """A set of ours that was loaded.

    Args:
        path: what it is called in errors.
        cache: as for :func:`own_subject`.

    Raises:
        SettingError: when it does not say what it was made from, or does not fit the data set that lies there.
    """
    about = synthetic.about
    if not {"data", "network", "training"} <= about.keys():
        raise SettingError(f"{path}: written before sets said what they were made from; distil it again")
    recipe = TrainingRecipe(**checked(TrainingRecipe, about["training"], f"{path}: training"))
    optimizer: Any = about.get("optimizer", "fresh")
    choose({name: name for name in get_args(Optimizer)}, optimizer, f"{path}: optimizer")
    network = mapping(about["network"], f"{path}: network")
    own_of(NETWORKS, network, f"{path}: network")
    given = {**mapping(about["data"], f"{path}: data"), "validation": 0.0}
    if given.get("name") == "folder":
        given = {"fit": "squash", **given}  # What was done before sets said it.
    check_dataset(given, f"{path}: data")
    data = load_dataset(**given, **vars(where), device=device, preprocessing=synthetic.transform, cache=cache)
    named = by_name(synthetic, data.classes, path, f"{data.name} in data.root={where.root}")
    return _fitting(path, Subject(named, data, network, recipe, optimizer, named is not synthetic))


def foreign_subject(
    path: Path,
    recipe_of: Callable[[int], Recipe],
    where: DataSettings,
    device: torch.device,
    *,
    factor: int | None = None,
    cache: Path | None = None,
    **options: Any,
) -> Subject:
    """Another's set.

    Args:
        recipe_of: the recipe for a number of images per class, which is known only once the file is read.
        factor: of the grids of its images; None: the recipe's.
        cache: as for :func:`own_subject`.
        options: settings of the data set that differ from the recipe's.

    Raises:
        SettingError: when it is absent, damaged, or does not fit the data set.
    """
    unwhitened = load_dataset(**{**recipe_of(1).dataset, "zca": False}, **vars(where), cache=cache)
    found = foreign.read(path, unwhitened.classes, unwhitened.image_shape[0])
    recipe = recipe_of(max(1, len(found.labels) // unwhitened.num_classes))
    given = {**recipe.dataset, **options}
    check_dataset(given)
    data = load_dataset(**given, **vars(where), device=device, cache=cache)
    factor = recipe.formation.factor if factor is None else factor
    formation = dataclasses.replace(recipe.formation, factor=factor, stored_as=found.stored_as)
    images, labels = found.images.to(device), found.labels.to(device)
    synthetic = SyntheticSet(images, labels, data.preprocessing, data.classes, formation)
    return _fitting(path, Subject(synthetic, data, recipe.network, recipe.training))


def _fitting(path: str | Path, subject: Subject) -> Subject:
    """The subject, whose images must be as large as those of its data set."""
    shape = tuple(subject.synthetic.images.shape[1:])
    if shape != subject.data.image_shape:
        raise SettingError(
            f"synthetic={path}: images of shape {list(shape)}, those of {subject.data.name} have "
            f"{list(subject.data.image_shape)}; check dataset="
        )
    return subject
