"""What the files that we read must hold, whoever wrote them: another version of ours, another person, an editor."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from cmidd import files
from cmidd.checking import Name, complaint
from cmidd.errors import SettingError
from cmidd.training import Count, NonNegative, Positive

Accuracies = Annotated[list[Annotated[float, Field(strict=True, ge=0, le=100)]], Field(min_length=1)]
Number = Annotated[str, Field(pattern=r"^\d{1,10}$")]  # JSON's keys are text
ClassName = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Named(TypedDict):
    name: Name


class Weight(TypedDict):
    weight: NonNegative


class Measured(TypedDict):
    weight: None
    ratio: Positive


class Identity(TypedDict):
    """What the name of a run's folder, of a cell and of kept evidence is made of."""

    method: Named
    dataset: Named
    ipc: Count
    seed: Annotated[int, Field(strict=True, ge=0)]
    cmi: Weight | Measured
    regularizers: NotRequired[dict[Name, dict[str, Any]]]
    sampler: NotRequired[Named]
    schedule: NotRequired[Named]


class Last(TypedDict):
    iteration: Count
    accuracies: Accuracies


class Balanced(TypedDict):
    """Of a term in a stage (:meth:`cmidd.balance.Balance.record`)."""

    weight: NonNegative
    ratio: NonNegative
    measured: Annotated[list[Positive], Field(min_length=1)]


class Record(TypedDict):
    """``result.json``; what earlier versions did not write need not be there."""

    settings: Identity
    last: Last
    tested_on: Literal["test", "validation"]
    evaluations: NotRequired[Annotated[dict[Number, Accuracies], Field(min_length=1)]]
    evaluated_at_seconds: NotRequired[dict[Number, NonNegative]]
    baselines: NotRequired[dict[str, Accuracies]]
    teachers: NotRequired[list[dict[str, Any]]]
    weights: NotRequired[list[dict[Name, Balanced]]]
    seconds: NotRequired[NonNegative]
    evaluation_seconds: NotRequired[NonNegative]
    peak_memory_mib: NotRequired[NonNegative]
    device: NotRequired[str]
    command: NotRequired[str | None]
    differs_from_recipe: NotRequired[dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]] | None]
    engine: NotRequired[dict[str, Any]]


class Checkpoint(TypedDict):
    """The header of ``checkpoint.safetensors``."""

    iteration: Annotated[int, Field(strict=True, ge=0)]
    seconds: NonNegative
    evaluation_seconds: NonNegative
    evaluations: dict[Number, Accuracies]
    evaluated_at: dict[Number, NonNegative]
    rollbacks: NotRequired[Annotated[int, Field(strict=True, ge=0)]]
    rollbacks_in_a_row: NotRequired[Annotated[int, Field(strict=True, ge=0)]]


class TeacherAccuracy(TypedDict):
    accuracy: Annotated[float, Field(strict=True, ge=0, le=100)]


class Baseline(TypedDict):
    accuracies: Accuracies


class BaselineRecord(Baseline):
    """What ``scripts/baselines.py`` leaves; ``ipc`` and ``method`` (whose protocol it is) are None for ``whole``."""

    baseline: Literal["random", "whole"]
    dataset: str
    method: Name | None
    ipc: Count | None
    tested_on: Literal["test", "validation"]
    differs_from_recipe: dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]]


Pieces = dict[Name, Accuracies]
"""What is measured so far of an evaluation or baseline that is not finished."""


class BenchCell(TypedDict):
    method: str
    dataset: str
    ipc: Count
    cmi: NonNegative
    seconds_per_iteration: NonNegative


class BenchTable(TypedDict):
    cells: list[BenchCell]


class Header(TypedDict):
    """The header of ``synthetic.safetensors``."""

    format: Literal[1]
    classes: Annotated[list[ClassName], Field(min_length=1)]
    formation: NotRequired[dict[str, Any]]


def conforming(path: Path, value: Any, kind: Any) -> Any:
    """``value``, which stands in ``path``, as it is.

    Raises:
        SettingError: naming the first part that is missing or no ``kind``.
    """
    try:
        _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise SettingError(
            f"{path}: {complaint(error, '')} -- damaged, or of another version; move it away, or make it again"
        ) from error
    return value


@functools.cache  # There may be thousands of records, and making one takes as long as reading some of them.
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@contextlib.contextmanager
def restoring(path: Path) -> Iterator[None]:
    """For a block that takes over what a file holds.

    Raises:
        SettingError: when that lacks something, or has it in another shape.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:300]
        raise SettingError(
            f"{path}: not what this run goes on from ({reason}); move the folder away, or overwrite=true (which keeps "
            "it beside)"
        ) from error


def read_record(path: Path) -> dict[str, Any]:
    """A ``result.json``.

    Raises:
        SettingError: when it is no record of a run.
    """
    record: dict[str, Any] = conforming(path, files.read_json(path), Record)
    return record


def part(path: Path, record: dict[str, Any], name: str) -> Any:
    """What not every version's record has.

    Raises:
        SettingError: when this one has not.
    """
    if name not in record:
        raise SettingError(f"{path}: has no {name!r}, being of an older version; run it again, or move it away")
    return record[name]
