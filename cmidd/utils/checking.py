"""Checks of what a user typed, and of what a file holds: one line for the first thing that is wrong."""

import dataclasses
import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, is_dataclass
from dataclasses import Field as DataclassField
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import DEVICE

MOST_SHOWN = 200
TRIED = re.compile(r".*\[|constrained-|(bool|int|float|str)$")  # how pydantic calls one of several types


def checked(function: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check settings against the keyword-only parameters of a function or class, or the fields of a dataclass; nested
    dataclasses are made. Numbers are finite.

    Parameters without a given value keep their defaults.

    Raises:
        SettingError: one line for the first argument that is unknown, of the wrong type or out of range.
    """
    names, model, hints = _model_of(function)
    arguments = mapping(arguments, where)
    for key in arguments:
        known(key, names, where, function)
    try:
        made = model(**arguments)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "unexpected_keyword_argument":
            *above, last = map(str, first["loc"])
            known(last, _nested(hints, above), ".".join(part for part in (where, *above) if part))
        raise SettingError(complaint(error, where)) from error
    return {name: getattr(made, f"setting_{number}") for number, name in enumerate(names)}


@functools.lru_cache(maxsize=256)
def _model_of(function: Callable[..., Any]) -> tuple[list[str], type[BaseModel], dict[str, Any]]:
    """The names of a function's settings, the model that checks them, and their types."""
    typed: Any = function.func if isinstance(function, functools.partial) else function
    if isinstance(function, type):
        typed = next(vars(base)["__init__"] for base in function.__mro__ if "__init__" in vars(base))
    settings = _settings_of(function)
    hints = _hints(typed, [p.name for p in settings])
    # By aliases: a setting may have any name, also one that pydantic's models have.
    factories = {each.name: each.default_factory for each in dataclass_fields(function)}
    fields: dict[str, Any] = {}
    for number, p in enumerate(settings):
        default: Any = {"default": ... if p.default is p.empty else p.default}
        if factories.get(p.name, MISSING) is not MISSING:
            default = {"default_factory": factories[p.name]}
        fields[f"setting_{number}"] = hints.get(p.name, Any), Field(alias=p.name, **default)
    model = create_model("Settings", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)
    return [p.name for p in settings], model, hints


def _hints(function: Callable[..., Any], names: list[str]) -> dict[str, Any]:
    """The types of the settings alone: those of other parameters may be imported for type checkers only."""
    own = {name: hint for name, hint in getattr(function, "__annotations__", {}).items() if name in names}
    if not own:
        return {}
    try:
        return get_type_hints(SimpleNamespace(__annotations__=own), inspect.unwrap(function).__globals__, None, True)
    except NameError as error:
        raise SettingError(
            f"{function.__qualname__}: the type of a setting is not known where it runs ({error}); import it there, "
            "not for type checkers alone"
        ) from error


def dataclass_fields(function: Any) -> Sequence[DataclassField[Any]]:
    """The fields of a dataclass; of anything else none."""
    return dataclasses.fields(function) if is_dataclass(function) else ()


def keywords(function: Callable[..., Any]) -> list[str]:
    """The names of the settings of a function, class or dataclass."""
    return [parameter.name for parameter in _settings_of(function)]


def _settings_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    parameters = inspect.signature(function).parameters.values()
    return [p for p in parameters if p.kind == p.KEYWORD_ONLY or is_dataclass(function)]


def _nested(hints: Mapping[str, Any], above: Sequence[str]) -> list[str]:
    """The settings of a dataclass that is nested in those of ``hints``."""
    for part in above:
        kinds = [hints[part], *get_args(hints[part])] if part in hints else []
        hints = next((get_type_hints(kind, include_extras=True) for kind in kinds if is_dataclass(kind)), hints)
    return list(hints)


def complaint(error: ValidationError, where: str) -> str:
    """The first thing that pydantic found: name, value and what was expected, in one line."""
    first, *others = error.errors()
    # Of several types that a setting may have, pydantic names the one that it tried: no part of the setting's name.
    loc = [part for part in map(str, first["loc"]) if not TRIED.match(part)]
    name = shown(".".join(part for part in (where, *loc) if part)) or "content"
    if first["type"] == "missing":
        return f"{name}: missing; give a value"
    beside = [each for each in others if each["loc"][:-1] == first["loc"][:-1] and each["type"] == "literal_error"]
    values = [each["ctx"]["expected"] for each in beside if TRIED.match(str(each["loc"][-1]))]
    said = "Input should be true, false" if values and first["type"].startswith("bool_") else first["msg"]
    if first["type"] in ("tuple_type", "list_type"):
        said = "Input should be a list, with brackets: [a,b]"
    elif first["type"] == "string_pattern_mismatch" and first["ctx"]["pattern"] == DEVICE:
        said = "Input should be 'auto', 'cpu', 'cuda', 'cuda:<n>', 'mps' or 'free_gpu'"
    return f"{name}={shown(first['input'])}: {' or '.join([said, *values])}"


def shown(value: Any) -> str:
    """A value in an error: one line, not too long."""
    text = " ".join(str(value).split())
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def mapping(value: Any, where: str) -> dict[str, Any]:
    """``value`` as a dictionary of settings.

    Raises:
        SettingError: when it is none.
    """
    if not isinstance(value, Mapping):
        raise SettingError(f"{where}={shown(value)}: expected several settings, {where}.<name>=<value>; leave it out")
    return {str(key): below for key, below in value.items()}


def choose(table: Mapping[str, Any], name: Any, where: str) -> Any:
    """The entry ``name`` of a table of plug-ins.

    Raises:
        SettingError: listing what there is.
    """
    if not isinstance(name, str) or name not in table:
        raise SettingError(f"{where}={shown(name)}: unknown; choose one of {', '.join(sorted(table))}")
    return table[name]


def own_of(table: Mapping[str, Any], given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The checked settings of a plug-in that is given by its ``name`` with them.

    Raises:
        SettingError: when there is no such plug-in, or one of its settings is wrong.
    """
    plugin = choose(table, given.get("name"), where)
    return checked(plugin, {key: value for key, value in given.items() if key != "name"}, where)


def known(key: str, names: Iterable[str], where: str, of: Callable[..., Any] | None = None) -> None:
    """Refuse a setting that is not among ``names``, with the closest one; ``of`` is the function that has them.

    Raises:
        SettingError: listing what there is.
    """
    names = sorted(names)
    if key in names:
        return
    prefix = f"{where}." if where else ""
    if of is not None and key in _misplaced(of):
        kind = getattr(of, "__name__", where)  # A partial has none.
        raise SettingError(f"{prefix}{key}: unknown setting; settings of {kind} stand behind a *, and this does not")
    close = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean {prefix.rpartition(': ')[2]}{close[0]}? " if close else ""  # Without the file's name.
    raise SettingError(f"{prefix}{shown(key)}: unknown setting; {hint}known: {', '.join(names)}")


def _misplaced(function: Callable[..., Any]) -> list[str]:
    """The parameters with defaults that are no settings, as they may be given without their names."""
    parameters = inspect.signature(function).parameters.values()
    own = set(keywords(function))
    return [p.name for p in parameters if p.default is not p.empty and p.name not in own]


def validate(path: Path, value: Any, kind: Any) -> Any:
    """``value``, which stands in ``path``, as a ``kind``: a dataclass of its parts as they are, or a type that it has.

    Raises:
        SettingError: naming the first part that is missing or no ``kind``.
    """
    try:
        _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise SettingError(
            f"{path}: {complaint(error, '')} -- damaged, or of another version; move it away, or make it again"
        ) from error
    # Not what pydantic made: that lacks what a part says beyond its type, such as the other settings of a run.
    if not isinstance(kind, type) or not is_dataclass(kind):
        return value
    return kind(**{field.name: value[field.name] for field in dataclass_fields(kind) if field.name in value})


@functools.cache  # There may be thousands of records, and making one takes as long as reading some of them.
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
