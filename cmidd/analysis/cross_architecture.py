"""The worth of one synthetic set, ours or another's, to several networks: a table of accuracies."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field

from cmidd.compute.recipe import stated
from cmidd.compute.training import TrainingRecipe
from cmidd.data.dataset import Dataset
from cmidd.data.load import DataSettings
from cmidd.evaluation.class_order import Confusion, Permuted, permuted
from cmidd.evaluation.evaluate import evaluate
from cmidd.evaluation.subject import Recipe, Subject, foreign_subject, own_subject, subject_of
from cmidd.evaluation.train_on_set import digest, stages_of, training_steps
from cmidd.networks import NETWORKS, blank_network
from cmidd.runs.settings import Settings
from cmidd.synthetic import foreign
from cmidd.synthetic.places import is_own, place_of
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import files
from cmidd.utils.checking import checked, own_of
from cmidd.utils.errors import SettingError
from cmidd.utils.provenance import provenance
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Count, Device, Name, PathText
from cmidd.utils.text import escape_markdown, summary

log = logging.getLogger(__name__)
Compose = Callable[[list[str]], Settings]


@dataclass(frozen=True)
class EvaluationSettings:
    """One evaluation (``configs/command/evaluate.yaml``).

    What a file of ours says about itself need not be given. For another's, ``method`` and ``dataset`` name the
    settings of ``distill.py`` under which it was made and is evaluated; ``zca``, ``statistics``, ``factor`` and
    ``training`` replace what these say.
    """

    synthetic: PathText
    network: Annotated[list[str | dict[str, Any]], Field(min_length=1)]
    repeats: Count
    seed: Annotated[int, Field(strict=True, ge=0)]
    method: Name | None
    dataset: Name | None
    zca: bool | None
    statistics: Name | None
    factor: Annotated[int, Field(strict=True, gt=0)] | None
    training: dict[str, Any]
    device: Device
    data: DataSettings
    buffers_root: PathText

    @property
    def cache(self) -> Path:
        """Where decoded pictures of the data set are kept, by runs as well."""
        return Path(self.buffers_root, "images")


def read_evaluation(config: dict[str, Any]) -> EvaluationSettings:
    """Check a resolved config; one network may be given without brackets.

    Raises:
        SettingError: one line for the first setting that is wrong.
    """
    if isinstance(config.get("network"), str | dict):
        config = {**config, "network": [config["network"]]}
    settings = EvaluationSettings(**checked(EvaluationSettings, config, ""))
    for network in settings.network:
        own_of(NETWORKS, {"name": network} if isinstance(network, str) else network, "network")
    return settings


def load_subject(settings: EvaluationSettings, compose: Compose, device: torch.device) -> Subject:
    """Read the set and its data set.

    Args:
        compose: settings of ``distill.py`` for a list of overrides, for what another's file does not say.

    Raises:
        SettingError: when the set is unreadable, or something it does not say is not given either.
    """
    path = place_of(Path(settings.synthetic))
    if is_own(path):
        for name in ("method", "dataset", "zca", "statistics", "factor"):
            if getattr(settings, name) is not None:
                raise SettingError(f"{name}={getattr(settings, name)}: {path} carries its own; leave {name} out")
        subject = own_subject(path, settings.data, device, settings.cache)
    else:
        subject = _foreign(path, settings, compose, device)
    return _asked_for(settings, subject)


def own_set(settings: EvaluationSettings, synthetic: SyntheticSet, device: torch.device) -> Subject:
    """As :func:`load_subject`, of a set that was loaded.

    Raises:
        SettingError: when it does not say what it was made from.
    """
    return _asked_for(settings, subject_of(synthetic, settings.synthetic, settings.data, device, settings.cache))


def _asked_for(settings: EvaluationSettings, subject: Subject) -> Subject:
    """The subject with the recipe that the settings change; every network is known to fit it."""
    data = subject.data
    for options in _networks(settings, subject).values():  # All of them, before the first is trained.
        blank_network(image_shape=data.image_shape, num_classes=data.num_classes, **options)
    changed = {key: value for key, value in settings.training.items() if value is not None}
    arguments = checked(TrainingRecipe, {**asdict(subject.recipe), **changed}, "training")
    if "lr" in changed:
        subject.synthetic.forget_syn_lr()
    return dataclasses.replace(subject, recipe=TrainingRecipe(**arguments))


def _foreign(path: Path, settings: EvaluationSettings, compose: Compose, device: torch.device) -> Subject:
    if not path.exists():
        raise SettingError(f"synthetic={path}: no such file or folder; give {foreign.KINDS}")
    method, dataset = foreign.guess(path)
    method, dataset = settings.method or method, settings.dataset or dataset
    for name, value in (("method", method), ("dataset", dataset)):
        if value is None:
            raise SettingError(f"{name}: {path} does not say it; give {name}=..., as for distill.py")
    if method == "mtt" and settings.training.get("lr") is None:
        raise SettingError(f"training.lr: {path} does not hold the learned step size of MTT; give training.lr=...")

    def recipe_of(ipc: int) -> Recipe:
        base = compose([f"method={method}", f"dataset={dataset}", f"ipc={ipc}"])
        return Recipe(base.dataset, base.network, base.formation, base.evaluation.training)

    options = {key: getattr(settings, key) for key in ("zca", "statistics") if getattr(settings, key) is not None}
    return foreign_subject(
        path, recipe_of, settings.data, device, factor=settings.factor, cache=settings.cache, **options
    )


def cross_architecture(settings: EvaluationSettings, subject: Subject) -> list[Path]:
    """Evaluate every network, log the table, and write it beside the set as JSON and Markdown under a new number.

    Each network is kept beside the set as soon as it is measured, until the table is written.
    """
    synthetic, data = subject.synthetic, subject.data
    stages = stages_of(synthetic, subject.recipe)
    path = place_of(Path(settings.synthetic)).resolve()
    name = path.name if path.is_dir() else path.stem
    kept = path.with_name(f"{name}.evaluating.json")
    rows, moved = measured(settings, subject, kept)
    said = [f"{title}: {found.said(data.classes)}" for title, found in moved.items()]
    said = [*([_of_reordered(data)] if subject.reordered else []), *said]
    lines = _table(settings, data.name, rows, said)
    log.info("\n".join(lines))
    record = {
        "accuracies": rows,
        "labels_mapped_by_name": subject.reordered,
        "classes_seem_permuted": {title: found.record(data.classes) for title, found in moved.items()},
        "settings": asdict(settings),
        "training": stated(stages[-1][1]),
        "stages": len(stages),
        "training_steps": training_steps(stages),
        "images": len(synthetic.decode()),
        "synthetic": synthetic.about,
        **provenance(data.device),
    }
    paths = files.unused(path.with_name(f"{name}.evaluation"), ("json", "md"))
    files.write_json(paths[0], record)
    files.write_text(paths[1], "\n".join(lines) + "\n")
    kept.unlink(missing_ok=True)
    log.info("\nwritten: %s, %s", *paths)
    return paths


def accuracies(settings: EvaluationSettings, subject: Subject) -> dict[str, list[float]]:
    """By network the accuracy of each repeat on the test set, in per cent."""
    rows, _ = measured(settings, subject)
    return rows


def measured(
    settings: EvaluationSettings, subject: Subject, kept: Path | None = None
) -> tuple[dict[str, list[float]], dict[str, Permuted]]:
    """By network the :func:`accuracies`, and the order of classes that the networks found where it seems another.

    Args:
        kept: as for :func:`cmidd.evaluation.evaluate.evaluate`; what was measured before is not looked at again.
    """
    synthetic, data = subject.synthetic, subject.data
    images, stages = len(synthetic.decode()), stages_of(synthetic, subject.recipe)
    made_by = {"data": {"tested on": digest([(data.test, subject.recipe)])}}
    rows: dict[str, list[float]] = {}
    moved: dict[str, Permuted] = {}
    if subject.reordered:
        log.warning("%s", _of_reordered(data))
    for title, options in _networks(settings, subject).items():
        if options.get("norm") == "batchnorm" and images <= data.num_classes:
            log.warning("network=%s: batch norm at one image per class trains on few, unlike images", title)
        log.info("training %d x %s", settings.repeats, title)
        confusion = Confusion.of(data.num_classes)
        rows[title] = evaluate(
            data,
            options,
            stages,
            settings.repeats,
            Streams(settings.seed).child(title),
            optimizer=subject.optimizer,
            kept=kept,
            made_by=made_by,
            confusion=confusion,
        )
        if (found := permuted(confusion)) is not None:
            moved[title] = found
            log.warning("%s: %s", title, found.said(data.classes))
    return rows, moved


def _of_reordered(data: Dataset) -> str:
    return f"the set counts the classes in another order than {data.name}: its labels are mapped by their names"


def _networks(settings: EvaluationSettings, subject: Subject) -> dict[str, dict[str, Any]]:
    """The options of every network, by its title; the set's own network keeps its options."""
    found = {}
    for given in settings.network:
        options = {"name": given} if isinstance(given, str) else given
        title = options["name"] if isinstance(given, str) else " ".join(f"{k}={v}" for k, v in given.items())
        own = set(options) == {"name"} and options["name"] == subject.network["name"]
        found[title] = subject.network if own else options
    return found


def _table(
    settings: EvaluationSettings, dataset: str, rows: Mapping[str, list[float]], said: Sequence[str]
) -> list[str]:
    return [
        f"Accuracy on the test set of {dataset}, per cent: mean +- standard deviation of {settings.repeats} networks "
        f"trained from scratch on {escape_markdown(settings.synthetic)}",
        "",
        "| network | accuracy |",
        "| --- | --- |",
        *(f"| {escape_markdown(title)} | {summary(values)} |" for title, values in rows.items()),
        *(line for text in said for line in ("", escape_markdown(text))),
    ]
