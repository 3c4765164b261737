"""What one synthetic set, ours or another's, is worth to several networks: a table of accuracies."""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import torch
from pydantic import Field

from cmidd import files, imports
from cmidd.checking import Name, PathText, checked, choose, mapping
from cmidd.data import Dataset, load_dataset
from cmidd.errors import SettingError
from cmidd.evaluate import Optimizer, digest, evaluate, lessons_of, training_steps
from cmidd.networks import NETWORKS
from cmidd.objectives import Context
from cmidd.records import plain, provenance, summary
from cmidd.settings import DataSettings, Device, Settings
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet, load_synthetic
from cmidd.training import Count, TrainingRecipe

log = logging.getLogger(__name__)
Compose = Callable[[list[str]], Settings]


@dataclass(frozen=True)
class EvaluationSettings:
    """One evaluation (``configs/standalone/evaluate.yaml``).

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


@dataclass(frozen=True)
class Subject:
    """A synthetic set with the real data that tests it and the network and recipe it was made for.

    ``optimizer``: what a network takes from one stage of the set to the next (:class:`cmidd.evaluate.Protocol`).
    """

    synthetic: SyntheticSet
    data: Dataset
    network: dict[str, Any]
    recipe: TrainingRecipe
    optimizer: Optimizer = "fresh"


def read_evaluation(config: dict[str, Any]) -> EvaluationSettings:
    """Check a resolved config; one network may be given without brackets.

    Raises:
        SettingError: one line for the first setting that is wrong.
    """
    if isinstance(config.get("network"), str | dict):
        config = {**config, "network": [config["network"]]}
    settings = EvaluationSettings(**checked(EvaluationSettings, config, ""))
    for network in settings.network:
        options = {"name": network} if isinstance(network, str) else dict(network)
        checked(choose(NETWORKS, options.pop("name", None), "network"), options, "network")
    return settings


def load_subject(settings: EvaluationSettings, compose: Compose, device: torch.device) -> Subject:
    """Read the set and its data set.

    Args:
        compose: settings of ``distill.py`` for a list of overrides, for what another's file does not say.

    Raises:
        SettingError: when the set is unreadable, or something it does not say is not given either.
    """
    path = Path(settings.synthetic).expanduser()
    own = path.suffix == ".safetensors"
    subject = _own(path, settings, device) if own else _foreign(path, settings, compose, device)
    shape = tuple(subject.synthetic.images.shape[1:])
    if shape != subject.data.image_shape:
        raise SettingError(
            f"synthetic={path}: images of shape {list(shape)}, those of {subject.data.name} have "
            f"{list(subject.data.image_shape)}; check dataset="
        )
    changed = {key: value for key, value in settings.training.items() if value is not None}
    arguments = checked(TrainingRecipe, {**asdict(subject.recipe), **changed}, "training")
    if "lr" in changed:
        subject.synthetic.forget_syn_lr()
    return dataclasses.replace(subject, recipe=TrainingRecipe(**arguments))


def _own(path: Path, settings: EvaluationSettings, device: torch.device) -> Subject:
    synthetic = load_synthetic(path, device)
    for name in ("method", "dataset", "zca", "statistics", "factor"):
        if getattr(settings, name) is not None:
            raise SettingError(f"{name}={getattr(settings, name)}: {path} carries its own; leave {name} out")
    about = synthetic.about
    if not {"data", "network", "training"} <= about.keys():
        raise SettingError(f"{path}: written before sets said what they were made from; distil it again")
    recipe = TrainingRecipe(**checked(TrainingRecipe, about["training"], f"{path}: training"))
    optimizer: Any = about.get("optimizer", "fresh")
    choose({name: name for name in get_args(Optimizer)}, optimizer, f"{path}: optimizer")
    network = mapping(about["network"], f"{path}: network")
    options = {key: value for key, value in network.items() if key != "name"}
    checked(choose(NETWORKS, network.get("name"), f"{path}: network"), options, f"{path}: network")
    given = {**mapping(about["data"], f"{path}: data"), "validation": 0.0}
    data = _real(given, settings, device, f"{path}: data", preprocessing=synthetic.transform)
    if data.num_classes != len(synthetic.classes):
        raise SettingError(
            f"{path}: a set of {len(synthetic.classes)} classes, {data.name} in data.root={settings.data.root} has "
            f"{data.num_classes}; give the data.root that it was made from"
        )
    return Subject(synthetic, data, network, recipe, optimizer)


def _foreign(path: Path, settings: EvaluationSettings, compose: Compose, device: torch.device) -> Subject:
    if not path.exists():
        raise SettingError(f"synthetic={path}: no such file or folder; give {imports.KINDS}")
    method, dataset = imports.guess(path)
    method, dataset = settings.method or method, settings.dataset or dataset
    for name, value in (("method", method), ("dataset", dataset)):
        if value is None:
            raise SettingError(f"{name}: {path} does not say it; give {name}=..., as for distill.py")
    if method == "mtt" and settings.training.get("lr") is None:
        raise SettingError(f"training.lr: {path} does not hold the learned step size of MTT; give training.lr=...")
    # The number of images per class decides which recipe holds, and is known only once the file is read.
    words = [f"method={method}", f"dataset={dataset}"]
    options = {key: getattr(settings, key) for key in ("zca", "statistics") if getattr(settings, key) is not None}
    plain = _real({**compose([*words, "ipc=1"]).dataset, "zca": False}, settings, torch.device("cpu"))
    found = imports.read(path, plain.classes, plain.image_shape[0])
    base = compose([*words, f"ipc={max(1, len(found.labels) // plain.num_classes)}"])
    data = _real({**base.dataset, **options}, settings, device)
    factor = base.formation.factor if settings.factor is None else settings.factor
    formation = dataclasses.replace(base.formation, factor=factor, stored_as=found.stored_as)
    synthetic = SyntheticSet(
        found.images.to(device), found.labels.to(device), data.preprocessing, data.classes, formation
    )
    return Subject(synthetic, data, base.network, base.evaluation.training)


def _real(
    dataset: dict[str, Any],
    settings: EvaluationSettings,
    device: torch.device,
    where: str = "dataset",
    **more: Any,
) -> Dataset:
    arguments = checked(load_dataset, dataset, where)
    return load_dataset(**arguments, root=settings.data.root, download=settings.data.download, device=device, **more)


def cross_architecture(settings: EvaluationSettings, subject: Subject) -> list[Path]:
    """Evaluate every network, log the table, and write it beside the set as JSON and Markdown under a new number.

    Each network is kept beside the set as soon as it is measured, until the table is written.
    """
    synthetic, data = subject.synthetic, subject.data
    decoded, lessons = synthetic.decode(), lessons_of(synthetic, subject.recipe)
    per_class = len(decoded) / data.num_classes
    path = Path(settings.synthetic).expanduser().resolve()
    name = path.name if path.is_dir() else path.stem
    kept = path.with_name(f"{name}.evaluating.json")
    key = {"tested on": digest([(data.test, subject.recipe)])}
    rows: dict[str, list[float]] = {}
    for given in settings.network:
        options = {"name": given} if isinstance(given, str) else given
        if set(options) == {"name"} and options["name"] == subject.network["name"]:
            options = subject.network
        title = options["name"] if isinstance(given, str) else " ".join(f"{k}={v}" for k, v in given.items())
        if options.get("norm") == "batchnorm" and per_class <= 1:
            log.warning("network=%s: batch norm at one image per class trains on few, unlike images", title)
        context = Context(data, synthetic, Streams(settings.seed), Path(), options, key)
        log.info("training %d x %s", settings.repeats, title)
        streams = context.streams.child(title)
        rows[title] = evaluate(context, lessons, settings.repeats, streams, kept, subject.optimizer)
    lines = [
        f"Accuracy on the test set of {data.name}, per cent: mean +- standard deviation of {settings.repeats} networks "
        f"trained from scratch on {plain(settings.synthetic)}",
        "",
        "| network | accuracy |",
        "| --- | --- |",
        *(f"| {plain(title)} | {summary(values)} |" for title, values in rows.items()),
    ]
    log.info("\n".join(lines))
    record = {
        "accuracies": rows,
        "settings": asdict(settings),
        "training": asdict(lessons[-1][1]),
        "stages": len(lessons),
        "training_steps": training_steps(lessons),
        "images": len(decoded),
        "synthetic": synthetic.about,
        **provenance(data.device),
    }
    paths = files.unused(path.with_name(f"{name}.evaluation"), ("json", "md"))
    files.write_json(paths[0], record)
    files.write_text(paths[1], "\n".join(lines) + "\n")
    kept.unlink(missing_ok=True)
    log.info("\nwritten: %s, %s", *paths)
    return paths
