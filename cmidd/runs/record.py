"""The record of a finished run, ``result.json``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from cmidd.utils import files
from cmidd.utils.checking import validate
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Accuracies, Count, Name, NonNegative, Number, Positive

T = TypeVar("T")


def _not_null(value: Any) -> Any:
    if value is None:
        raise ValueError("null; leave it out instead")
    return value


OrAbsent = Annotated[T | None, BeforeValidator(_not_null)]
"""What a record need not say; null in the file is none of it."""


class Named(TypedDict):
    name: Name


class GivenWeight(TypedDict):
    weight: NonNegative


class MeasuredWeight(TypedDict):
    weight: None
    ratio: Positive


class Identity(TypedDict):
    """What the name of a run's folder, of a cell and of kept evidence is made of."""

    method: Named
    dataset: Named
    ipc: Count
    seed: Annotated[int, Field(strict=True, ge=0)]
    cmi: GivenWeight | MeasuredWeight
    regularizers: NotRequired[dict[Name, dict[str, Any]]]
    sampler: NotRequired[Named]
    schedule: NotRequired[Named]


class Last(TypedDict):
    iteration: Count
    accuracies: Accuracies


class Balanced(TypedDict):
    """Of a term in a stage (:meth:`cmidd.loop.balance.Balance.record`)."""

    weight: NonNegative
    ratio: NonNegative
    measured: Annotated[list[Positive], Field(min_length=1)]


@dataclass(frozen=True)
class RunRecord:
    """What a finished run says of itself. None is what earlier versions did not write.

    Attributes:
        settings: its identity.
        tested_on: ``test``, or ``validation``.
        last, best: iteration and accuracies (per cent, one a network) of the last iterate, and of the best one.
        evaluations, evaluated_at_seconds: by iteration, accuracies and seconds of distillation until then.
        command, differs_from_recipe: the line that made it, and ``{setting: [this run's, the recipe's]}``.
        read_from: the file or folder of the images, where they are not the published ones.
        understood: what was made of a folder of images: its layout, splits, classes, what was skipped or converted.
        training_steps: of a network trained on the set; ``optimizer_between_stages`` where the set has stages.
        declined: steps that the method did not want (DATM's gate); not said where there are none.
        weights: of every stage, what was measured of each term (:meth:`cmidd.loop.balance.Balance.record`).
    """

    settings: Identity
    tested_on: Literal["test", "validation"]
    last: Last
    best: Last | None = None
    evaluations: OrAbsent[Annotated[dict[Number, Accuracies], Field(min_length=1)]] = None
    evaluated_at_seconds: OrAbsent[dict[Number, NonNegative]] = None
    command: str | None = None
    differs_from_recipe: dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]] | None = None
    device: OrAbsent[str] = None
    versions: dict[str, str] | None = None
    python: str | None = None
    commit: str | None = None
    engine: OrAbsent[dict[str, Any]] = None
    read_from: str | None = None
    understood: OrAbsent[str] = None
    network: str | None = None
    training_steps: int | None = None
    optimizer_between_stages: str | None = None
    baselines: OrAbsent[dict[str, Accuracies]] = None
    teachers: OrAbsent[list[dict[str, Any]]] = None
    rollbacks: int | None = None
    declined: int | None = None
    weights: OrAbsent[list[dict[Name, Balanced]]] = None
    seconds: OrAbsent[NonNegative] = None
    evaluation_seconds: OrAbsent[NonNegative] = None
    peak_memory_mib: OrAbsent[NonNegative] = None

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        files.write_json(path, {self._key(name): value for name, value in vars(self).items() if value is not None})

    def _key(self, name: str) -> str:
        """What an attribute is called in the file."""
        return f"best_on_{self.tested_on}" if name == "best" else name

    def has(self, path: Path, *names: str) -> None:
        """Check that the version that wrote the record in ``path`` already wrote these.

        Raises:
            SettingError: naming the first that it did not.
        """
        for name in names:
            if getattr(self, name) is None:
                raise SettingError(
                    f"{path}: has no {self._key(name)!r}, being of an older version; run it again, or move it away"
                )


def read_record(path: Path) -> RunRecord:
    """A ``result.json``.

    Raises:
        SettingError: when it is no record of a run.
    """
    found = files.read_json(path)
    if isinstance(found, dict) and (best := found.get(f"best_on_{found.get('tested_on')}")) is not None:
        found = {**found, "best": best}
    record: RunRecord = validate(path, found, RunRecord)
    return record
