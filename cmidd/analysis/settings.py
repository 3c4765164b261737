"""The settings of the commands that read results, typed and checked (``configs/command/``)."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import Field

from cmidd.data.load import DataSettings
from cmidd.utils.checking import checked
from cmidd.utils.setting_types import Count, Device, Name, NonNegative, PathText, Positive

Roots = Annotated[list[PathText], Field(min_length=1)]
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class TableSettings:
    """``verify``: how many stored sets are evaluated once more."""

    table: dict[str, Any]
    results_root: Roots
    to: PathText
    verify: Annotated[int, Field(strict=True, ge=0)]
    device: Device
    data: DataSettings


@dataclass(frozen=True)
class CompareSettings:
    """``a`` and ``b`` are paths or cells (:func:`cmidd.analysis.compared.read_side`)."""

    a: PathText
    b: PathText
    results_root: Roots
    network: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] | None


@dataclass(frozen=True)
class ReportSettings:
    """``missing``: whether the table shows the cells that nobody ran, too."""

    table: dict[str, Any]
    results_root: Roots
    to: PathText
    missing: bool


@dataclass(frozen=True)
class FigureSettings:
    """``weight`` or ``ratio`` of CMI, null for the recipe's or the only one; ``real_per_class``: dots in the t-SNE;
    ``teachers``: where those of the runs are, if they were read from files; ``movie``: an animated picture as well.
    """

    method: Name
    dataset: Name
    ipc: Count
    weight: NonNegative | None
    ratio: Positive | None
    results_root: Roots
    to: PathText
    real_per_class: Count
    buffers_root: PathText
    teachers: PathText | None
    movie: Annotated[bool, Field(strict=True)]
    device: Device
    data: DataSettings


def read_standalone(kind: type[Kind], config: dict[str, Any]) -> Kind:
    """Check a resolved config; one root may be given without brackets.

    Raises:
        SettingError: one line for the first setting that is wrong.
    """
    roots = config.get("results_root")
    return kind(**checked(kind, {**config, "results_root": [roots] if isinstance(roots, str) else roots}, ""))
