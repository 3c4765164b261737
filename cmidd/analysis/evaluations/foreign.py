"""Another's set as it is evaluated: what its files and their maker say, a recipe, and what was typed."""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from cmidd.analysis.evaluations.protocol import Asked, finished, place_to_read, protocol_of
from cmidd.analysis.evaluations.settings import Request
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.evaluation.subject import Recipe, foreign_subject
from cmidd.methods import METHODS
from cmidd.runs.settings import Settings
from cmidd.synthetic import foreign
from cmidd.synthetic.foreign import Imported
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)
FACTOR = "method.formation.factor"
# These train at the step size that was learned with the images.
LEARNED = ("mtt", "datm")
# On which labels others' soft ones are trained on where their protocol has hard ones; KIP's are taken by their largest.
LOSSES = {"kip": "hard", "frepo": "mse"}


def foreign_set(request: Request, path: str, place: Path, device: torch.device) -> Asked:
    """Read another's set with its data set.

    Raises:
        SettingError: when it is unreadable, or something that its files do not say is not given either.
    """
    if not place.exists():
        raise SettingError(f"synthetic={place}: no such file or folder; give {foreign.KINDS}")
    words = _guessed(request, place)
    found: list[tuple[Settings, EvaluationProtocol]] = []
    networks: dict[str, Mapping[str, str]] = {}

    def recipe_of(imported: Imported | None, ipc: int) -> Recipe:
        found.append(_settings(request, place, [*words, *_ipc(request, place, imported, ipc)], imported))
        networks.update({} if imported is None else imported.networks)
        settings, protocol = found[-1]
        return Recipe(settings.dataset, settings.network, settings.formation, protocol.training, protocol.optimizer)

    recipe_of(None, 1)
    factor = found[-1][0].formation.factor if FACTOR in request.typed else None
    maker = request.own.maker or request.typed.get("method")
    where = place_to_read(*found[-1], device)
    subject = foreign_subject(place, recipe_of, where, maker=maker, factor=factor)
    settings, protocol = found[-1]
    return finished(request, Asked(path, subject, settings, protocol, networks))


def _guessed(request: Request, place: Path) -> list[str]:
    """Method and data set as words, as far as they were not typed but files tell them."""
    guessed = dict(zip(("method", "dataset"), foreign.guess(place), strict=True))
    words = []
    for name, value in guessed.items():
        if name not in request.typed:
            if value is None:
                raise SettingError(f"{name}: {place} does not say it; give {name}=..., as for distill.py")
            words.append(f"{name}={value}")
    return words


def _ipc(request: Request, place: Path, imported: Imported | None, ipc: int) -> list[str]:
    """Images per class as a word, which are counted."""
    if imported is not None and request.typed.get("ipc", str(ipc)) != str(ipc):
        raise SettingError(f"ipc={request.typed['ipc']}: {place} has {ipc} images of each class; leave ipc out")
    return [] if "ipc" in request.typed else [f"ipc={ipc}"]


def _settings(
    request: Request, place: Path, before: list[str], imported: Imported | None
) -> tuple[Settings, EvaluationProtocol]:
    """The settings of a run that makes such sets, and the protocol."""
    name, leaving = request.typed.get("evaluation"), ["evaluation"] if "evaluation" in request.typed else []
    if imported is None:
        settings = request.composed(before, leaving)
        return settings, protocol_of(request, settings, before, name)
    foreign.refuse_open_normalisation(imported, place, request.typed)
    dataset = (dict(word.split("=", 1) for word in before) | request.typed)["dataset"]
    decided = {**imported.statistics(dataset), **imported.dataset_settings}
    said = [f"dataset.{key}={_text(value)}" for key, value in decided.items()]
    before = [*before, *said, *_loss(request, imported)]
    settings = request.composed(before, leaving)
    grids = METHODS[settings.method["name"]].decodes and FACTOR not in request.typed
    if grids and imported.factor not in (None, settings.formation.factor):
        before = [*before, f"{FACTOR}={imported.factor}"]  # Recipes have other augmentation for other factors.
        settings = request.composed(before, leaving)
    if as_made := _network(request, imported, settings.network["name"]):
        log.info("%s: networks have %s, as in its maker's code", place, " ".join(as_made))
        settings = request.composed([*before, *as_made], leaving)
    own = settings.method["name"]
    named = name or (imported.protocol if imported.protocol != own else None)
    protocol = protocol_of(request, settings, before, named)
    learned = (named or own) in LEARNED
    if learned and imported.syn_lr is None and "evaluation.training.lr" not in request.typed:
        raise SettingError(
            f"evaluation.training.lr: {place} does not hold the learned step size of MTT; give "
            "evaluation.training.lr=..."
        )
    return settings, protocol


def _network(request: Request, imported: Imported, network: str) -> list[str]:
    """Settings of the network as words, as its maker's code has them, where they were not typed."""
    names = {f"network.{key}": value for key, value in imported.networks.get(network, {}).items()}
    return [f"{name}={value}" for name, value in names.items() if name not in request.typed]


def _loss(request: Request, imported: Imported) -> list[str]:
    """The loss as a word, where a set has soft labels and no protocol was chosen that says it."""
    if imported.soft_labels is None or "evaluation" in request.typed:
        return []
    return [f"evaluation.training.loss={LOSSES.get(imported.maker or '', 'soft')}"]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
