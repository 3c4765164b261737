"""All settings of a run, typed and checked before any work; errors name the setting, the value and the way out."""

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from cmidd.balance import Ratio
from cmidd.checking import PathText, checked, choose, known, mapping
from cmidd.data import READERS, load_dataset
from cmidd.engine import EngineSettings
from cmidd.errors import SettingError
from cmidd.evaluate import Protocol
from cmidd.formation import Formation
from cmidd.networks import NETWORKS
from cmidd.networks.of_torchvision import PREFIX
from cmidd.objectives import OBJECTIVES, Objective
from cmidd.records import BASELINE, EARLIER, PLAIN, merged, strength, system
from cmidd.regularizers import REGULARIZERS
from cmidd.samplers import SAMPLERS
from cmidd.schedules import SCHEDULES, Schedule
from cmidd.teacher_files import TeacherFiles, find
from cmidd.training import Count, NonNegative, Positive
from cmidd.weights import cmi_strength, take_regularizers

# How an error calls what an objective gives (Objective.gives).
GIVEN = {"network": "the network it matches in", "real": "batches of real images"}
# What may differ between two starts of the same run.
FREE = (
    "device",
    "results_root",
    "buffers_root",
    "overwrite",
    "data",
    "wandb",
    "checkpoint_seconds",
    "dry_run",
    "on_nan",
)
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d{1,3}|free_gpu)$")]


@dataclass(frozen=True)
class CMISettings:
    """``weight`` is the resolved lambda; 0 is the baseline, None has it measured to give the ``ratio`` (balance.py).

    ``pool``: how many teachers, trained for ``epochs``, or read from the files of ``teachers``.
    ``input``: whether its teachers see the images as networks do, or as pixels in [0, 1].
    ``centroids``: whether Q_y is the mean over the synthetic images of a class or over its real ones.
    ``measure``: follow CMI also where its weight is 0, and measure the ratios of all terms.
    """

    weight: NonNegative | None
    teacher: Annotated[str, Field(pattern="|".join(f"^{name}$" for name in (*NETWORKS, rf"{PREFIX}\w+")))]
    pool: Count
    epochs: Count
    teachers: TeacherFiles | None = None
    input: Literal["preprocessed", "pixels"] = "preprocessed"
    centroids: Literal["synthetic", "real"] = "synthetic"
    measure: bool = False
    ratio: Positive | None = None

    @property
    def adds(self) -> bool:
        """Whether CMI is part of the loss."""
        return strength(vars(self)) != BASELINE

    @property
    def active(self) -> bool:
        """Whether CMI is computed at all."""
        return self.adds or self.measure


@dataclass(frozen=True)
class DataSettings:
    root: PathText
    download: bool


@dataclass(frozen=True)
class WandbSettings:
    mode: Literal["disabled", "offline", "online"]
    project: Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Settings:
    """One run. ``dataset``, ``network``, ``method``, ``sampler`` and ``schedule`` hold a ``name`` and that thing's own
    keyword arguments, ``regularizers`` for each name a ``weight`` (None with a ``ratio``) and the others.
    ``balance_steps``: over how many steps ratios are measured.
    """

    ipc: Count
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)]
    iterations: Count
    init: Literal["real", "noise"]
    formation: Formation
    dataset: dict[str, Any]
    network: dict[str, Any]
    method: dict[str, Any]
    cmi: CMISettings
    evaluation: Protocol
    engine: EngineSettings
    device: Device
    data: DataSettings
    wandb: WandbSettings
    results_root: PathText
    buffers_root: PathText
    overwrite: bool
    checkpoint_seconds: NonNegative
    dry_run: bool
    regularizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=lambda: {"name": "random"})
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "whole"})
    on_nan: Literal["stop", "rollback"] = "stop"
    balance_steps: Count = 10

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        dataset, root = self.dataset["name"], Path(self.data.root).expanduser().resolve()
        if dataset in ("folder", "arrays"):
            dataset = f"{dataset}_{root.name if dataset == 'folder' else root.stem}"
        parts = (dataset, system(vars(self)), f"ipc{self.ipc}", f"cmi{strength(vars(self.cmi))}", f"seed{self.seed}")
        return Path(self.results_root, *parts)

    @property
    def distinct(self) -> bool:
        """Whether the set starts from real images of which none stands in two tiles of a grid."""
        return bool(self.method.get("distinct")) and self.init == "real" and self.formation.tiles > 1

    @property
    def taught(self) -> bool:
        """Whether a term of the loss asks for teachers."""
        return self.cmi.active or any(REGULARIZERS[name].taught for name in self.regularizers if name in REGULARIZERS)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that make the result: plain values, equal for two starts of the same run.

        Plug-ins and ``engine.deterministic`` are mentioned where there are any, and the settings of
        :data:`cmidd.records.EARLIER` where they are otherwise, so records from before there were some stay valid.
        """
        plain = {key: value for key, value in asdict(self).items() if key not in FREE and value != {}}
        plain = {key: value for key, value in plain.items() if value != {"name": PLAIN.get(key)}}
        if not self.engine.deterministic:
            del plain["engine"]["deterministic"]
        if not self.distinct:
            plain["method"].pop("distinct", None)
        if self.dataset["name"] == "folder":
            plain["data"] = {"root": str(Path(self.data.root).expanduser().resolve())}
        if self.dataset["name"] == "arrays":
            plain["data"] = {"file": Path(self.data.root).expanduser().resolve().stem}
        if self.cmi.teachers is not None:  # Wherever they are.
            del plain["cmi"]["teachers"]["path"]
        if not self.cmi.active:
            del plain["cmi"]["input"]
        for name, value in EARLIER.items():
            *above, last = name.split(".")
            holder = functools.reduce(lambda part, key: part.get(key, {}), above, plain)
            if last in holder and holder[last] == value:
                del holder[last]
        return plain


def read_settings(config: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Check a resolved config; returns the settings and the checked keyword arguments of the method.

    Raises:
        SettingError: one line for the first setting that is unknown, of the wrong type or out of range.
    """
    config = mapping(config, "config")
    parts = {name: mapping(config.get(name), name) for name in ("method", "network", "dataset", "cmi", *TABLES)}
    method = parts["method"]
    objective: type[Objective] = choose(OBJECTIVES, method.pop("name", None), "method")
    common = {"formation": {}} | {each.name: method.pop(each.name) for each in fields(Common) if each.name in method}
    common = checked(Common, common, "method")
    del common["distinct"]  # It stays among the method's own.
    config.update(common)
    arguments = checked(objective, method, "method")
    network = parts["network"]
    checked(choose(NETWORKS, network.pop("name", None), "network"), network, "network")
    dataset = {key: value for key, value in parts["dataset"].items() if key not in ("augment", "teacher")}
    config["dataset"] = dataset
    checked(load_dataset, dataset, "dataset")
    choose(READERS, dataset["name"], "dataset")
    name = config["method"]["name"]
    config["regularizers"] = take_regularizers(config)
    for regularizer in config["regularizers"]:
        _refuse_unmet("regularizer", regularizer, REGULARIZERS[regularizer].needs, objective.gives, name)
    for kind, table in TABLES.items():
        given = parts[kind]
        plugin: Any = choose(table, given.pop("name", None), kind)
        checked(plugin, given, kind)
        config[kind] = {"name": config[kind]["name"], **given}
    sampler = config["sampler"]["name"]
    _refuse_unmet("sampler", sampler, SAMPLERS[sampler].needs, objective.gives, name)
    config["cmi"] = _cmi(parts["cmi"], name, dataset["name"], config.get("ipc"), config["formation"])
    if config["cmi"].get("input") == "reference":
        config["cmi"]["input"] = objective.teacher_input
    settings = Settings(**checked(Settings, config, ""))
    schedule = make_schedule(settings.schedule)
    sizes = schedule.sizes(settings.ipc)
    _refuse_without_gradient(settings, sizes[0] * settings.formation.tiles)
    for stage in range(len(sizes)):
        checked(objective, merged(method, schedule.method_settings(stage)), "schedule.overrides")
    return settings, arguments


TABLES: dict[str, Mapping[str, Any]] = {"sampler": SAMPLERS, "schedule": SCHEDULES}


@dataclass(frozen=True)
class Common:
    """What ``configs/method/<name>.yaml`` says of every method.

    ``distinct``: no real image stands in two tiles of the grid that a set with a ``formation`` starts from.
    """

    iterations: Count
    formation: Formation
    init: Literal["real", "noise"] = "real"
    distinct: bool = False


@dataclass(frozen=True)
class TeacherSources:
    """What a config says of teachers: ``teachers`` is a folder or file, a ``pool`` of null all that are in it."""

    teacher: str
    teachers: PathText | None = None
    pool: Count | None = None


@dataclass(frozen=True)
class WeightSources:
    """Where ``configs/cmi/<name>.yaml`` and recipes take the weight of CMI from when ``lambda`` is null."""

    fallback: Literal["paper", "recipe"] | None = None
    published: dict[int, NonNegative] | None = None
    own: NonNegative | Ratio | None = None


def _cmi(given: dict[str, Any], method: str, dataset: str, ipc: Any, formation: Formation) -> dict[str, Any]:
    """The settings of CMI with its resolved ``weight`` or ``ratio``."""
    names = {each.name for each in (*fields(WeightSources), *fields(CMISettings))}
    for key in given:
        known(key, {"lambda", *names} - {"weight"}, "cmi")
    value, ratio, alone = given.pop("lambda", None), given.pop("ratio", None), ipc == formation.tiles == 1
    sources = checked(
        WeightSources, {key: given.pop(key) for key in ("fallback", "published", "own") if key in given}, "cmi"
    )
    _find_teachers(given)
    return {**cmi_strength(value, ratio, **sources, method=method, dataset=dataset, ipc=ipc, alone=alone), **given}


def _find_teachers(given: dict[str, Any]) -> None:
    """Replace where the teachers are by their hash with it, and a ``pool`` of null by how many there are."""
    wanted = checked(
        TeacherSources, {key: given[key] for key in ("teacher", "teachers", "pool") if key in given}, "cmi"
    )
    if wanted["teachers"] is not None:
        given["teachers"], given["pool"] = find(wanted["teachers"], wanted["pool"])
    elif wanted["teacher"].startswith(PREFIX):
        raise SettingError(f"cmi.teacher={wanted['teacher']}: is not trained here; give cmi.teachers=<folder or file>")


def make_schedule(schedule: Mapping[str, Any]) -> Schedule:
    """The schedule of ``Settings.schedule``."""
    given = {key: value for key, value in schedule.items() if key != "name"}
    kind = SCHEDULES[schedule["name"]]
    return kind(**checked(kind, given, "schedule"))


def _refuse_without_gradient(settings: Settings, images: int) -> None:
    """Refuse a ratio for a term that is constant in the first stage, which has ``images`` training images per class."""
    balanced = {name: given["ratio"] for name, given in settings.regularizers.items() if "ratio" in given}
    needed = {name: REGULARIZERS[name].per_class_images for name in balanced}
    if settings.cmi.ratio is not None:
        balanced["cmi"], needed["cmi"] = settings.cmi.ratio, 1 if settings.cmi.centroids == "real" else 2
    for name, least in needed.items():
        if images < least:
            when = "" if settings.ipc * settings.formation.tiles == images else " in the first stage"
            other = " or cmi.centroids=real" if name == "cmi" else ""
            raise SettingError(
                f"{name}.ratio={balanced[name]:g}: {name} has no gradient at one training image per class{when}, so no "
                f"weight gives it a ratio; choose a larger ipc{other}"
            )


def _refuse_unmet(kind: str, name: str, needs: frozenset[str], gives: frozenset[str], method: str) -> None:
    """Refuse a plug-in that needs what the method cannot give."""
    for need in sorted(needs - gives):
        able = [other for other, objective in OBJECTIVES.items() if needs <= objective.gives]
        raise SettingError(
            f"{kind}={name}: needs {GIVEN[need]}, and method={method} has none; use it with method={', '.join(able)}"
        )
