"""The settings of a run."""

from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from cmidd.buffers.teacher_files import TeacherFiles
from cmidd.compute.engine import EngineSettings
from cmidd.core.schedule import Schedule
from cmidd.data.load import DataSettings
from cmidd.evaluation.protocols import EvaluationProtocol, FeatureSettings
from cmidd.methods import METHODS
from cmidd.networks import NETWORKS, TORCHVISION
from cmidd.regularizers import REGULARIZERS
from cmidd.runs.identity import BASELINE, BY_ITSELF, EARLIER, strength, system
from cmidd.runs.tracking import Tracking, WandbSettings
from cmidd.schedules import SCHEDULES
from cmidd.synthetic.formation import Formation
from cmidd.utils.checking import checked, keywords, own_of
from cmidd.utils.nested import merged, without_values
from cmidd.utils.setting_types import Count, Device, NonNegative, PathText, Positive


def _teacher(name: str) -> str:
    if name not in NETWORKS and not name.startswith(TORCHVISION):
        raise ValueError(f"unknown network; choose one of {', '.join(NETWORKS)}, {TORCHVISION}<name>")
    return name


@dataclass(frozen=True)
class CMISettings:
    """``weight`` is the resolved lambda; 0 is the baseline, None has it measured to give the ``ratio``
    (:mod:`cmidd.loop.balance`).

    ``pool``: how many teachers, trained for ``epochs``, or read from the files of ``teachers``.
    ``input``: whether its teachers see the images as networks do, or as pixels in [0, 1].
    ``centroids``: whether Q_y is the mean over the synthetic images of a class or over its real ones.
    ``measure``: follow CMI also where its weight is 0, and measure the ratios of all terms.
    """

    weight: NonNegative | None
    teacher: Annotated[str, AfterValidator(_teacher)]
    pool: Count
    epochs: Count
    teachers: TeacherFiles | None = None
    input: Literal["preprocessed", "pixels"] = "preprocessed"
    centroids: Literal["synthetic", "real"] = "synthetic"
    measure: bool = False
    ratio: Positive | None = None

    @property
    def active(self) -> bool:
        """Whether CMI is computed at all."""
        return self.measure or strength(vars(self)) != BASELINE


# What may differ between two starts of the same run; the defaults are those of configs/distill.yaml.
MAY_DIFFER = {"free": True}


@dataclass(frozen=True)
class Settings:
    """One run. ``dataset``, ``network``, ``method``, ``sampler`` and ``schedule`` hold a ``name`` and that thing's own
    keyword arguments, ``regularizers`` for each name a ``weight`` (None with a ``ratio``) and the others.
    ``balance_steps``: over how many steps ratios are measured.
    """

    ipc: Count
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)]
    iterations: Count
    init: Literal["real", "noise", "recognised"]
    formation: Formation
    dataset: dict[str, Any]
    network: dict[str, Any]
    method: dict[str, Any]
    cmi: CMISettings
    evaluation: EvaluationProtocol
    engine: EngineSettings
    regularizers: dict[str, dict[str, Any]] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=lambda: {"name": "random"})
    schedule: dict[str, Any] = field(default_factory=lambda: {"name": "whole"})
    balance_steps: Count = 10
    device: Device = field(default="auto", metadata=MAY_DIFFER)
    data: DataSettings = field(default=DataSettings(), metadata=MAY_DIFFER)
    tracking: Tracking | None = field(default=None, metadata=MAY_DIFFER)
    wandb: WandbSettings = field(default=WandbSettings(), metadata=MAY_DIFFER)
    results_root: PathText = field(default="results", metadata=MAY_DIFFER)
    buffers_root: PathText = field(default="buffers", metadata=MAY_DIFFER)
    overwrite: bool = field(default=False, metadata=MAY_DIFFER)
    checkpoint_seconds: NonNegative = field(default=60.0, metadata=MAY_DIFFER)
    dry_run: bool | Literal["measure"] = field(default=False, metadata=MAY_DIFFER)
    prepare: bool = field(default=False, metadata=MAY_DIFFER)
    on_nan: Literal["stop", "rollback"] = field(default="stop", metadata=MAY_DIFFER)

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
        return bool(self.method.get("distinct")) and self.init != "noise" and self.formation.tiles > 1

    @property
    def terms(self) -> dict[str, dict[str, Any]]:
        """Every regulariser that is computed: its ``weight`` or ``ratio``, and its own settings."""
        if not self.cmi.active:
            return self.regularizers
        own = {name: getattr(self.cmi, name) for name in ("weight", "ratio", *keywords(REGULARIZERS["cmi"]))}
        return {"cmi": own, **self.regularizers}

    @property
    def taught(self) -> bool:
        """Whether a term of the loss asks for teachers."""
        return any(REGULARIZERS[name].taught for name in self.terms if name in REGULARIZERS)

    @property
    def taught_with(self) -> list[dict[str, Any]]:
        """The changes to the training of CMI's teachers with which every term that has teachers asks for them."""
        kinds = [(REGULARIZERS[name], own) for name, own in self.terms.items() if name in REGULARIZERS]
        return [kind.teacher_changes(own) for kind, own in kinds if kind.taught]

    @cached_property
    def stages(self) -> Schedule:
        """The schedule."""
        return SCHEDULES[self.schedule["name"]](**own_of(SCHEDULES, self.schedule, "schedule"))

    @cached_property
    def stage_sizes(self) -> list[int]:
        """Images per class of every stage."""
        return self.stages.sizes(self.ipc)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The method's checked keyword arguments, in the first stage."""
        return self.arguments_in(0)

    def arguments_in(self, stage: int) -> dict[str, Any]:
        """The method's checked keyword arguments in a stage of the schedule.

        Raises:
            SettingError: when what the schedule changes is no setting of the method.
        """
        kind = METHODS[self.method["name"]]
        given = {name: self.method[name] for name in keywords(kind) if name in self.method}
        changed = self.stages.method_settings(stage)
        return checked(kind, merged(given, changed), "schedule.overrides" if changed else "method")

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that make the result, equal for two starts of the same run.

        Plug-ins and ``engine.deterministic`` are mentioned where there are any, and ``evaluation.features`` and the
        settings of :data:`cmidd.runs.identity.EARLIER` where they are otherwise, so records from before there were some
        stay valid.
        """
        made = {key: value for key, value in asdict(self).items() if key not in FREE and value != {}}
        made = {key: value for key, value in made.items() if value != {"name": BY_ITSELF.get(key)}}
        if not self.engine.deterministic:
            del made["engine"]["deterministic"]
        if self.evaluation.features == FeatureSettings():
            del made["evaluation"]["features"]
        if not self.distinct:
            made["method"].pop("distinct", None)
        if self.dataset["name"] == "folder":
            made["data"] = {"root": str(Path(self.data.root).expanduser().resolve())}
        if self.dataset["name"] == "arrays":
            made["data"] = {"file": Path(self.data.root).expanduser().resolve().stem}
        if self.cmi.teachers is not None:  # Wherever they are.
            del made["cmi"]["teachers"]["path"]
        if not self.cmi.active:
            del made["cmi"]["input"]
        return without_values(made, EARLIER)


FREE = frozenset(each.name for each in fields(Settings) if each.metadata.get("free"))
