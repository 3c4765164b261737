"""All settings of a run, typed and checked before any work; errors name the setting, the value and the way out."""

import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from cmidd.data import load_dataset
from cmidd.engine import EngineSettings
from cmidd.errors import SettingError
from cmidd.evaluate import Protocol
from cmidd.formation import Formation
from cmidd.networks import NETWORKS
from cmidd.objectives import OBJECTIVES, Objective
from cmidd.records import PLAIN, merged, system
from cmidd.regularizers import REGULARIZERS
from cmidd.samplers import SAMPLERS
from cmidd.schedules import SCHEDULES, Schedule
from cmidd.training import Count

CMI_KEYS = ("lambda", "fallback", "published", "teacher", "pool", "epochs", "centroids", "own", "measure")
# How an error calls what an objective gives (Objective.gives).
GIVEN = {"network": "the network it matches in", "real": "batches of real images"}
# What may differ between two starts of the same run.
FREE = ("device", "results_root", "buffers_root", "overwrite", "data", "wandb", "checkpoint_seconds", "dry_run")


@dataclass(frozen=True)
class CMISettings:
    """``weight`` is the resolved lambda; 0 is the baseline.

    ``centroids``: whether Q_y is the mean over the synthetic images of a class or over its real ones.
    ``measure``: follow CMI also where its weight is 0.
    """

    weight: float
    teacher: Annotated[str, Field(pattern="|".join(f"^{name}$" for name in NETWORKS))]
    pool: Count
    epochs: Count
    centroids: Literal["synthetic", "real"] = "synthetic"
    measure: bool = False


@dataclass(frozen=True)
class DataSettings:
    root: str
    download: bool


@dataclass(frozen=True)
class WandbSettings:
    mode: Literal["disabled", "offline", "online"]
    project: str


@dataclass(frozen=True)
class Settings:
    """One run. ``dataset``, ``network``, ``method``, ``sampler`` and ``schedule`` hold a ``name`` and that thing's own
    keyword arguments, ``regularizers`` for each name a ``weight`` and the others.
    """

    ipc: Count
    seed: Annotated[int, Field(strict=True, ge=0)]
    iterations: Count
    init: Literal["real", "noise"]
    formation: Formation
    dataset: dict[str, Any]
    network: dict[str, Any]
    method: dict[str, Any]
    cmi: CMISettings
    evaluation: Protocol
    engine: EngineSettings
    device: str
    data: DataSettings
    wandb: WandbSettings
    results_root: str
    buffers_root: str
    overwrite: bool
    checkpoint_seconds: Annotated[float, Field(ge=0)]
    dry_run: bool
    regularizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=lambda: {"name": "random"})
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "whole"})

    @property
    def folder(self) -> Path:
        """Where the run's files go."""
        weight = f"{self.cmi.weight:.10g}"
        dataset = self.dataset["name"]
        if dataset == "folder":
            dataset = f"folder_{Path(self.data.root).expanduser().resolve().name}"
        parts = (dataset, system(vars(self)), f"ipc{self.ipc}", f"cmi{weight}", f"seed{self.seed}")
        return Path(self.results_root, *parts)

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that make the result: plain values, equal for two starts of the same run.

        Plug-ins and ``engine.deterministic`` are mentioned where there are any, so records from before there were
        some stay valid.
        """
        plain = {key: value for key, value in asdict(self).items() if key not in FREE and value != {}}
        plain = {key: value for key, value in plain.items() if value != {"name": PLAIN.get(key)}}
        if not self.engine.deterministic:
            del plain["engine"]["deterministic"]
        if self.dataset["name"] == "folder":
            plain["data"] = {"root": str(Path(self.data.root).expanduser().resolve())}
        return plain


def read_settings(config: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """Check a resolved config; returns the settings and the checked keyword arguments of the method.

    Raises:
        SettingError: one line for the first setting that is unknown, of the wrong type or out of range.
    """
    config = dict(config)
    method = dict(config["method"])
    objective: type[Objective] = _choose(OBJECTIVES, method.pop("name", None), "method")
    config["iterations"], config["init"] = method.pop("iterations", None), method.pop("init", "real")
    config["formation"] = method.pop("formation", {})
    arguments = checked(objective, method, "method")
    network = dict(config["network"])
    checked(_choose(NETWORKS, network.pop("name", None), "network"), network, "network")
    dataset = {key: value for key, value in config["dataset"].items() if key not in ("augment", "teacher")}
    config["dataset"] = dataset
    checked(load_dataset, dataset, "dataset")
    config["regularizers"] = _regularizers(config, objective.gives, config["method"]["name"])
    for kind, table in (("sampler", SAMPLERS), ("schedule", SCHEDULES)):
        given = dict(config[kind])
        plugin: Any = _choose(table, given.pop("name", None), kind)
        checked(plugin, given, kind)
        config[kind] = {"name": config[kind]["name"], **given}
    needs = SAMPLERS[config["sampler"]["name"]].needs
    _refuse_unmet("sampler", config["sampler"]["name"], needs, objective.gives, config["method"]["name"])
    schedule = make_schedule(config["schedule"])
    for stage in range(len(schedule.sizes(config["ipc"]))):
        checked(objective, merged(method, schedule.method_settings(stage)), "schedule.overrides")
    cmi = dict(config["cmi"])
    for key in cmi:
        _known(key, CMI_KEYS, "cmi")
    rest = {key: cmi[key] for key in ("teacher", "pool", "epochs", "centroids", "measure")}
    where = (config["method"]["name"], dataset["name"], config["ipc"])
    config["cmi"] = {"weight": cmi_weight(cmi["lambda"], cmi["fallback"], cmi["published"], cmi["own"], *where), **rest}
    return Settings(**checked(Settings, config, "")), arguments


def cmi_weight(
    value: Any,
    fallback: str | None,
    published: Mapping[int, float] | None,
    own: float | None,
    method: str,
    dataset: str,
    ipc: int,
) -> float:
    """The weight of CMI: a number, the published one for ``paper``, the published one or else the recipe's ``own``
    for ``recipe``, or 0 (the baseline) for null.
    """
    value = fallback if value is None else value
    if value is None:
        return 0.0
    if value == "paper":
        if ipc not in (published or {}):
            raise SettingError(
                f"cmi=paper: no weight is published for method={method} dataset={dataset} ipc={ipc}; "
                "give a number instead, e.g. cmi.lambda=0.1"
            )
        value = (published or {})[ipc]
    if value == "recipe":
        value = (published or {}).get(ipc, own)
        if value is None:
            raise SettingError(
                f"cmi=recipe: configs/recipe/{method}_{dataset}.yaml has neither a published nor an own weight for "
                f"ipc={ipc}; give a number instead, e.g. cmi.lambda=0.1"
            )
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise SettingError(f"cmi.lambda={value}: expected a number >= 0, null (baseline), paper or recipe")
    return float(value)


def make_schedule(schedule: Mapping[str, Any]) -> Schedule:
    """The schedule of ``Settings.schedule``."""
    given = {key: value for key, value in schedule.items() if key != "name"}
    kind = SCHEDULES[schedule["name"]]
    return kind(**checked(kind, given, "schedule"))


def _regularizers(config: dict[str, Any], gives: frozenset[str], method: str) -> dict[str, dict[str, Any]]:
    """Take the settings of the chosen regularisers out of a config; ``lambda`` becomes their ``weight``."""
    chosen = {}
    for name, kind in REGULARIZERS.items():
        if name not in config:
            continue
        given = dict(config.pop(name))
        if "default" not in given:
            raise SettingError(f"{name}: not among the regularisers of this run; add regularizer={name}")
        weight, default = given.pop("lambda"), given.pop("default")
        weight = default if weight is None else weight
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise SettingError(f"{name}.lambda={weight}: expected a number >= 0, or null for {default}")
        chosen[name] = {"weight": float(weight), **checked(kind, given, name)}
        _refuse_unmet("regularizer", name, kind.needs, gives, method)
    return chosen


def _refuse_unmet(kind: str, name: str, needs: frozenset[str], gives: frozenset[str], method: str) -> None:
    """Refuse a plug-in that needs what the method cannot give."""
    for need in sorted(needs - gives):
        able = [other for other, objective in OBJECTIVES.items() if needs <= objective.gives]
        raise SettingError(
            f"{kind}={name}: needs {GIVEN[need]}, and method={method} has none; use it with method={', '.join(able)}"
        )


def checked(function: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check keyword arguments against a signature (types, ranges, unknown names); nested dataclasses are made.

    Parameters without a given value keep their defaults; positional ones, which are no settings, are left out.
    """
    typed: Any = function
    if isinstance(function, type):
        typed = next(vars(base)["__init__"] for base in function.__mro__ if "__init__" in vars(base))
    hints = get_type_hints(typed, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    skipped = {"self", "context", "teachers", "image_shape", "num_classes"}
    skipped |= {"root", "download", "device", "preprocessing"}
    if where == "":
        skipped = {"self"}
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is p.empty else p.default) for p in parameters if p.name not in skipped
    }
    for key in arguments:
        _known(key, fields, where)
    try:
        model = create_model("Settings", __config__=ConfigDict(extra="forbid"), **fields)(**arguments)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(part for part in (where, *map(str, first["loc"])) if part)
        given = "" if first["type"] == "missing" else f"={first['input']}"
        raise SettingError(f"{name}{given}: {first['msg']}") from error
    return {name: getattr(model, name) for name in fields}


def _choose(table: Mapping[str, Any], name: Any, where: str) -> Any:
    if name not in table:
        raise SettingError(f"{where}={name}: unknown; choose one of {', '.join(sorted(table))}")
    return table[name]


def _known(key: str, known: Any, where: str) -> None:
    if key in known:
        return
    prefix = f"{where}." if where else ""
    close = difflib.get_close_matches(key, list(known), n=1)
    hint = f"did you mean {prefix}{close[0]}? " if close else ""
    raise SettingError(f"{prefix}{key}: unknown setting; {hint}known: {', '.join(sorted(known))}")
