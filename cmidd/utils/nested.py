"""Nested settings: merging, what stands where, and where two differ."""

from collections.abc import Iterable, Mapping
from typing import Any


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested ``settings`` with ``changes``."""
    new = dict(settings)
    for name, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(new.get(name), Mapping)
        new[name] = merged(new[name], value) if nested else value
    return new


def at(settings: Any, name: str) -> Any:
    """What stands under a dotted name; None where there is nothing."""
    for key in name.split("."):
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    return settings


def among(name: str, groups: Iterable[str]) -> bool:
    """Whether a dotted name is one of some, or below one."""
    return any(name == group or name.startswith(f"{group}.") for group in groups)


def differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Where two nested settings differ: the dotted name, the old and the new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        below = [differences(old.get(k), new.get(k), f"{name}.{k}" if name else k) for k in keys]
        return [difference for some in below for difference in some]
    return [] if old == new else [(name, old, new)]


def without_values(settings: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested ``settings`` without those that have the value that ``values`` gives for their dotted name."""
    made = dict(settings)
    for name, value in values.items():
        key, _, rest = name.partition(".")
        if rest and isinstance(made.get(key), Mapping):
            made[key] = without_values(made[key], {rest: value})
        elif not rest and key in made and made[key] == value:
            del made[key]
    return made
