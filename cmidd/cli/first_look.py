"""A first look at what was typed, before torch is imported: wrong values of settings whose types need no torch.

The types stand in the sources of the classes that take the settings. They are read there and nothing is imported but
what types are made of; what has another type, such as an augmentation, waits for
:func:`cmidd.runs.read_settings.read_settings`, which checks everything.
"""

import ast
import functools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydantic
from pydantic import ConfigDict, TypeAdapter, ValidationError

from cmidd.cli.configs import ROOMS
from cmidd.runs.strengths import strength_by_ratio, weight
from cmidd.utils import setting_types
from cmidd.utils.checking import complaint
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import at
from cmidd.utils.plugins import PACKAGE, files_of

if TYPE_CHECKING:
    from cmidd.cli.compose import Composition

# What the types of settings are made of.
MADE_OF = {module.__name__: module for module in (typing, pydantic, setting_types)}
SETTINGS = ("cmidd.runs.settings", "Settings")
# What configs may say otherwise than the class that takes it: they are made from others first.
LATER = ("cmi.input", "cmi.pool")
# Beside a plug-in's own settings.
SHARED = {
    "method": ("cmidd.runs.read_settings", "Common"),
    "dataset": ("cmidd.data.load", "CommonSettings"),
}


def look(chosen: "Composition", *, of_a_set: bool = False) -> None:
    """Check what was typed, as far as that needs no torch.

    Args:
        of_a_set: whether a synthetic set says which plug-ins it was made with, but for those that were typed.

    Raises:
        SettingError: the line that :func:`cmidd.runs.read_settings.read_settings` has for the same value.
    """
    for word in chosen.words:
        name, equals, _ = word.lstrip("+").partition("=")
        value = at(chosen.settings, name)
        if not equals or name in LATER or value is None:
            continue
        group = name.partition(".")[0]
        if of_a_set and group in ROOMS and not any(each.startswith(f"{group}=") for each in chosen.words):
            continue
        _check_strength(name, value)
        if (kind := type_of(name, chosen.choices)) is None:
            continue
        try:
            TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
        except ValidationError as error:
            raise SettingError(complaint(error, name)) from error


def _check_strength(name: str, value: Any) -> None:
    term, _, last = name.rpartition(".")
    if last == "ratio" and "." not in term:
        strength_by_ratio(None, value, term)
    elif name == "cmi.lambda" and value not in ("paper", "recipe"):
        weight(value, "cmi")


def type_of(name: str, choices: Mapping[str, str]) -> Any:
    """The type of a setting by its dotted name, where it can be told without torch; else None.

    Args:
        choices: what is chosen in each group.
    """
    first, *rest = name.split(".")
    if first in ROOMS and rest:
        holders = _plugin(first, str(choices.get(first)))
        holders += [Source(*SHARED[first])] if first in SHARED else []
    elif first in files_of("cmidd.regularizers") and first != "cmi":
        holders = _plugin("regularizer", first)
    else:
        holders, rest = [Source(*SETTINGS)], [first, *rest]
    for key in rest[:-1]:
        holders = [below for holder in holders if (below := holder.nested(key))]
    kinds = (holder.type_of(rest[-1]) for holder in holders if rest)
    return next((kind for kind in kinds if kind is not None), None)


def _plugin(group: str, name: str) -> list["Source"]:
    """The plug-in of a file in its room; nothing for those of other packages."""
    room = ROOMS[group][0]
    if name not in files_of(room):
        return []
    module = f"{room}.{name}"
    if group == "dataset":
        return [Source(module, "read")]
    return [Source(module, each.name) for each in _tree(module).body if isinstance(each, ast.ClassDef) and each.bases]


@dataclass(frozen=True)
class Source:
    """A class or function that takes settings, as its source says."""

    module: str
    name: str

    def type_of(self, key: str) -> Any:
        """The type of a setting; None where there is no such, or its type needs more than :data:`MADE_OF`."""
        for module, annotation in self._annotations(key):
            try:
                return eval(compile(ast.Expression(annotation), module, "eval"), dict(_names(module)))
            except NameError:
                return None
        return None

    def nested(self, key: str) -> "Source | None":
        """The dataclass that a setting is, where its type is nothing else."""
        for module, annotation in self._annotations(key):
            return _followed(module, annotation.id) if isinstance(annotation, ast.Name) else None
        return None

    def _annotations(self, key: str) -> Iterator[tuple[str, ast.expr]]:
        """The annotation of a setting and the module that it stands in, where the class or a base of it has one."""
        found = next((n for n in _tree(self.module).body if getattr(n, "name", None) == self.name), None)
        body = found.body if isinstance(found, ast.ClassDef) else [found]
        takes = next((n for n in body if isinstance(n, ast.FunctionDef) and n.name in ("__init__", self.name)), None)
        if takes is not None:
            given = (arg for arg in takes.args.kwonlyargs if arg.arg == key)
            yield from ((self.module, arg.annotation) for arg in given if arg.annotation)
        elif isinstance(found, ast.ClassDef):
            for each in body:
                if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id == key:
                    yield self.module, each.annotation
            for base in found.bases:
                if isinstance(base, ast.Name) and (above := _followed(self.module, base.id)):
                    yield from above._annotations(key)


def _followed(module: str, name: str) -> Source | None:
    """The class that a name of a module is, defined there or imported from another of ours."""
    for each in _tree(module).body:
        if isinstance(each, ast.ClassDef) and each.name == name:
            return Source(module, name)
        if isinstance(each, ast.ImportFrom) and each.module and each.module.startswith("cmidd."):
            for alias in each.names:
                if (alias.asname or alias.name) == name:
                    return _followed(each.module, alias.name)
    return None


@functools.cache
def _tree(module: str) -> ast.Module:
    place = PACKAGE.joinpath(*module.split(".")[1:])
    path: Path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _names(module: str) -> Mapping[str, Any]:
    """The names of a module that types are made of: imported ones, and types that are put together of them."""
    found: dict[str, Any] = {}
    for each in _tree(module).body:
        if isinstance(each, ast.ImportFrom) and each.module in MADE_OF:
            for alias in each.names:
                found[alias.asname or alias.name] = getattr(MADE_OF[each.module], alias.name)
        elif isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name):
            try:
                found[each.targets[0].id] = eval(compile(ast.Expression(each.value), module, "eval"), dict(found))
            except NameError:  # Made of something else: no type, or none that can be told here.
                continue
    return found
