"""The records of evaluations, read back: by set the accuracies of networks, and their scores where there are some."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from cmidd.compute.recipe import Targets
from cmidd.synthetic.places import SET
from cmidd.utils import files
from cmidd.utils.checking import validate
from cmidd.utils.nested import at
from cmidd.utils.setting_types import Accuracies, Count

NAME = re.compile(r"(?P<set>.+)\.evaluation(?P<number>\d{1,9})\.json")
Fractions = Annotated[list[Annotated[float, Field(strict=True, ge=-1, le=1)]], Field(min_length=1)]


class ScoreRuns(TypedDict):
    """One score: a fraction of every run."""

    runs: Fractions


class ScoresRecord(TypedDict):
    """What :meth:`cmidd.evaluation.scores.Scores.record` leaves, as far as tables read it."""

    HLR: ScoreRuns
    IOR: ScoreRuns
    LRS: ScoreRuns
    ARS: ScoreRuns
    labels: Literal["hard"] | Targets
    real_hard_from: str
    sentence: str


class EvaluatedSet(TypedDict):
    """One set of an evaluation: the accuracies, in per cent, by network."""

    accuracies: dict[str, Accuracies]
    training: dict[str, Any]
    synthetic: dict[str, Any]
    network: NotRequired[dict[str, Any]]
    evaluation: NotRequired[dict[str, Any]]
    dataset: NotRequired[str]
    ipc: NotRequired[Count]
    tested_on: NotRequired[Literal["test", "validation"]]
    scores: NotRequired[dict[str, ScoresRecord]]


def read_evaluated(path: Path) -> dict[str, EvaluatedSet]:
    """The sets of ``<set>.evaluation<n>.json``, by what they are called.

    Raises:
        SettingError: when it is no record of an evaluation.
    """
    content = files.read_json(path)
    if isinstance(content, dict) and isinstance(content.get("sets"), dict) and content["sets"]:
        return {name: validate(path, each, EvaluatedSet) for name, each in content["sets"].items()}
    return {set_name(path): validate(path, content, EvaluatedSet)}


def set_name(path: Path) -> str:
    """What a record's set is called: that of a run by its folder."""
    name = _stem(path)
    return str(path.parent) if name == "synthetic" else str(path.with_name(name))


def places_of_sets(path: Path) -> dict[str, Path]:
    """Where the sets of :func:`read_evaluated` lie, by what they are called: a set has one place, whether it was
    evaluated alone or among others, and however it was typed.
    """
    content = files.read_json(path)
    if isinstance(sets := at(content, "sets"), dict) and sets:
        return {name: _place(Path(name)) for name in sets}
    words, stem = at(content, "settings.synthetic"), _stem(path)
    names = [Path(str(word)).name for word in words] if isinstance(words, list) else []
    fitting = [name for name in (*names, SET) if stem in (name, Path(name).stem)]
    return {set_name(path): _place(path.with_name(fitting[0] if fitting else stem))}


def _place(path: Path) -> Path:
    """The file or folder of a set, which may be gone, or never was where a record of others says it is."""
    try:
        place = path.expanduser().resolve()
        return place / SET if (place / SET).is_file() else place
    except (OSError, RuntimeError, ValueError):
        return path


def _stem(path: Path) -> str:
    """The name of a record without number and ending."""
    found = NAME.fullmatch(path.name)
    return found["set"] if found else path.stem


def number_of(path: Path) -> int:
    """The number of an evaluation of its set."""
    found = NAME.fullmatch(path.name)
    return int(found["number"]) if found else 0
