"""Keyword arguments against a signature: types, ranges, unknown names; errors name the setting, value and way out."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from cmidd.errors import SettingError

# A file or folder: the empty text would be the current folder, and no path holds a zero byte.
PathText = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
# A name that becomes part of a file's name: it must not lead into another folder.
Name = Annotated[str, Field(max_length=100, pattern=r"^\w[\w+-]*$")]
MOST_SHOWN = 200


def checked(function: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check keyword arguments against a signature; nested dataclasses are made. Numbers are finite.

    Parameters without a given value keep their defaults; positional ones, which are no settings, are left out.

    Raises:
        SettingError: one line for the first argument that is unknown, of the wrong type or out of range.
    """
    typed: Any = function
    if isinstance(function, type):
        typed = next(vars(base)["__init__"] for base in function.__mro__ if "__init__" in vars(base))
    hints = get_type_hints(typed, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    skipped = {"self", "context", "teachers", "image_shape", "num_classes"}
    skipped |= {"root", "download", "device", "preprocessing"}
    if where == "" or is_dataclass(function):  # All that it holds are settings.
        skipped = {"self"}
    fields: dict[str, Any] = {
        p.name: (hints[p.name], ... if p.default is p.empty else p.default) for p in parameters if p.name not in skipped
    }
    arguments = mapping(arguments, where)
    for key in arguments:
        known(key, fields, where)
    try:
        model = create_model("Settings", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)(
            **arguments
        )
    except ValidationError as error:
        raise SettingError(complaint(error, where)) from error
    return {name: getattr(model, name) for name in fields}


def complaint(error: ValidationError, where: str) -> str:
    """The first thing that pydantic found: name, value and what was expected, in one line."""
    first = error.errors()[0]
    # Of several types that a setting may have, pydantic names the one that it tried: no part of the setting's name.
    loc = [part for part in map(str, first["loc"]) if "[" not in part and not part.startswith("constrained-")]
    name = shown(".".join(part for part in (where, *loc) if part)) or "content"
    if first["type"] == "missing":
        return f"{name}: missing; give a value"
    return f"{name}={shown(first['input'])}: {first['msg']}"


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


def known(key: str, names: Iterable[str], where: str) -> None:
    """Refuse a setting that is not among ``names``, with the closest one.

    Raises:
        SettingError: listing what there is.
    """
    names = sorted(names)
    if key in names:
        return
    prefix = f"{where}." if where else ""
    close = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean {prefix}{close[0]}? " if close else ""
    raise SettingError(f"{prefix}{shown(key)}: unknown setting; {hint}known: {', '.join(names)}")
