"""A synthetic set to be evaluated, ours or another's, with all that this needs."""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from cmidd.compute.recipe import TrainingRecipe
from cmidd.data.dataset import Dataset
from cmidd.data.held import Held, unit
from cmidd.data.load import DataSettings, check_dataset, load_dataset
from cmidd.data.split import Split
from cmidd.data.whitening import fit
from cmidd.evaluation.train_on_set import Optimizer
from cmidd.networks import NETWORKS
from cmidd.synthetic import foreign
from cmidd.synthetic.classes import by_name
from cmidd.synthetic.foreign import Imported
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.checking import checked, choose, mapping, own_of
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """A synthetic set with the real data that tests it and the network and recipe it was made for.

    ``optimizer``: what a network takes from one stage of the set to the next
    (:class:`cmidd.evaluation.protocols.EvaluationProtocol`). ``reordered``: whether the set counts the classes in
    another order than the data set; its labels are then mapped by their names. ``held_out``: a part of the training set
    on which one of several tests is chosen, where that is asked for. ``given``: the settings of the data set, which
    caches are named by.
    """

    synthetic: SyntheticSet
    data: Dataset
    network: dict[str, Any]
    recipe: TrainingRecipe
    optimizer: Optimizer = "fresh"
    reordered: bool = False
    held_out: Split | None = None
    given: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """What a method's recipe says for a data set and number of images per class."""

    dataset: dict[str, Any]
    network: dict[str, Any]
    formation: Formation
    training: TrainingRecipe
    optimizer: Optimizer = "fresh"


@dataclass(frozen=True)
class Place:
    """Where the data set of a subject is, and what is taken of it.

    Attributes:
        cache: where decoded pictures are kept, as for :func:`cmidd.data.load.load_dataset`.
        held_out: the fraction of the training set that is :attr:`Subject.held_out`; None: none.
    """

    where: DataSettings
    device: torch.device
    cache: Path | None = None
    held_out: float | None = None

    def read(self, given: Mapping[str, Any], **more: Any) -> tuple[Dataset, Split | None]:
        """The data set of some settings, and the held-out part of its training set."""
        common = {**vars(self.where), "device": self.device, "cache": self.cache}
        if self.held_out is None:
            return load_dataset(**{**given, **common, **more}), None
        data = load_dataset(**{**given, **common, **more, "validation": 0.0})
        more |= {"preprocessing": data.preprocessing, "validation": self.held_out}
        return data, load_dataset(**{**given, **common, **more}).test


def subject_of(synthetic: SyntheticSet, path: str, place: Place, asked: Mapping[str, Any] | None = None) -> Subject:
    """A set of ours that was loaded.

    Args:
        path: what it is called in errors.
        asked: what its header would say if it had been made as is asked for now; None: what it says.

    Raises:
        SettingError: when it does not say what it was made from, or does not fit the data set that lies there.
    """
    about = refuse_silent(synthetic.about if asked is None else asked, path)
    recipe = TrainingRecipe(**checked(TrainingRecipe, about["training"], f"{path}: training"))
    optimizer: Any = about.get("optimizer", "fresh")
    choose({name: name for name in get_args(Optimizer)}, optimizer, f"{path}: optimizer")
    network = mapping(about["network"], f"{path}: network")
    own_of(NETWORKS, network, f"{path}: network")
    given = mapping(about["data"], f"{path}: data")
    given = {**given, "validation": 0.0} if asked is None else given
    if given.get("name") == "folder":
        given = {"fit": "squash", **given}  # What was done before sets said it.
    check_dataset(given, f"{path}: data")
    data, held_out = place.read(given, preprocessing=synthetic.transform)
    made_from = {"data": given, "content": data.content}
    if data.name == "folder" and {name: synthetic.about.get(name) for name in made_from} != made_from:
        # Normalised as what the set was made from: no cache of these images has that by its other settings.
        given = {**given, "preprocessing": _named(synthetic.transform.tensors())}
    named = by_name(synthetic, data.classes, path, f"{data.name} in data.root={place.where.root}")
    return _fitting(path, Subject(named, data, network, recipe, optimizer, named is not synthetic, held_out, given))


def _named(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def refuse_silent(about: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """What a set says of itself.

    Raises:
        SettingError: when that is not what it was made from.
    """
    if not {"data", "network", "training"} <= about.keys():
        raise SettingError(f"{path}: written before sets said what they were made from; distil it again")
    return about


def foreign_subject(
    path: Path,
    recipe_of: Callable[[Imported | None, int], Recipe],
    place: Place,
    *,
    maker: str | None = None,
    factor: int | None = None,
) -> Subject:
    """Another's set.

    Args:
        recipe_of: the recipe for what was read, and a number of images per class; for None: of the data set.
        maker, factor: as for :func:`cmidd.synthetic.foreign.read`.

    Raises:
        SettingError: when it is absent, damaged, or does not fit the data set.
    """
    on_cpu = dataclasses.replace(place, device=torch.device("cpu"), held_out=None)
    plain, _ = on_cpu.read({**recipe_of(None, 1).dataset, "zca": False})
    found = foreign.read(path, plain.classes, plain.image_shape[0], method=maker, factor=factor)
    recipe = recipe_of(found, max(1, len(found.labels) // plain.num_classes))
    if found.factor is None and (tiles := recipe.formation.factor) > 1:
        log.info("%s: %s", path, Imported.of_grids(tiles, "as the recipe has them"))
    check_dataset(recipe.dataset)
    own: dict[str, Any] = {}
    if found.whitening is not None:
        pixels = unit(plain.train.pixels) if isinstance(plain.train, Held) else plain.train.images
        own["preprocessing"] = fit(found.whitening, pixels, plain.name)
    data, held_out = place.read(recipe.dataset, **own)
    subject = Subject(
        _as_stored(found, recipe.formation, data, place.device),
        data,
        recipe.network,
        recipe.training,
        recipe.optimizer,
        held_out=held_out,
        given=recipe.dataset if found.whitening is None else {**recipe.dataset, "whitening": found.whitening},
    )
    return _fitting(path, subject)


def _as_stored(found: Imported, formation: Formation, data: Dataset, device: torch.device) -> SyntheticSet:
    """What was read as a set of ours, with the grids of its recipe where its files say nothing of them."""
    said = {name: getattr(found, name) for name in ("factor", "tile_order", "shrink")}
    grids = {name: value for name, value in said.items() if value is not None}
    soft = found.soft_labels
    return SyntheticSet(
        found.images.to(device),
        found.labels.to(device),
        data.preprocessing,
        data.classes,
        dataclasses.replace(formation, stored_as=found.stored_as, **grids),
        syn_lr=None if found.syn_lr is None else torch.tensor(found.syn_lr),
        soft_labels=None if soft is None else SoftLabels(soft.values.to(device), soft.kind),
    )


def _fitting(path: str | Path, subject: Subject) -> Subject:
    """The subject, whose images must be as large as those of its data set."""
    shape = tuple(subject.synthetic.images.shape[1:])
    if shape != subject.data.image_shape:
        raise SettingError(
            f"synthetic={path}: images of shape {list(shape)}, those of {subject.data.name} have "
            f"{list(subject.data.image_shape)}; check dataset="
        )
    return subject
