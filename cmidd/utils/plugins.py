"""Plug-ins by name: a file in the room of its kind, or an entry point of an installed package.

A file whose name starts with an underscore is no plug-in. Names come from the files and from the metadata of packages,
so listing them imports nothing; a plug-in is imported when it is asked for.
"""

import functools
import importlib
import inspect
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from cmidd.utils.errors import SettingError

T = TypeVar("T")
PACKAGE = Path(__file__).parents[1]


class Plugins(Mapping[str, T], Generic[T]):
    """The plug-ins of a kind.

    Args:
        room: the package whose files they are, ``cmidd.methods``; ``group`` is that of entry points, else ``room``.
        kind: their base class, of which a file defines one subclass; or the name of the function that it defines.
        built_in: others, by name.
    """

    def __init__(
        self, room: str, kind: type | str, *, group: str | None = None, built_in: Mapping[str, T] | None = None
    ) -> None:
        self.room, self.group, self.kind, self.built_in = room, group or room, kind, dict(built_in or {})

    def __getitem__(self, name: str) -> T:
        if name in self.built_in:
            return self.built_in[name]
        if name in files_of(self.room):
            return self._defined_by(importlib.import_module(f"{self.room}.{name}"))
        point = entry_points_of(self.group)[name]
        try:
            plugin = point.load()
        except Exception as error:  # Somebody's package may raise anything when it is imported.
            raise SettingError(
                f"{name}: the entry point {point.value} of an installed package cannot be imported "
                f"({type(error).__name__}: {error}); repair or remove that package"
            ) from error
        of_kind = isinstance(plugin, type) and issubclass(plugin, self.kind) if isinstance(self.kind, type) else True
        if not callable(plugin) or not of_kind:
            needed = self.kind.__name__ if isinstance(self.kind, type) else "function"
            raise SettingError(f"{name}: the entry point {point.value} is no {needed}; repair or remove that package")
        return _whole(plugin)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self.built_in, *names(self.room, self.group)}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self.built_in or name in names(self.room, self.group)

    def _defined_by(self, module: ModuleType) -> T:
        """The plug-in in a file."""
        if isinstance(self.kind, str):
            found: Any = getattr(module, self.kind, None)
            if not callable(found):
                raise SettingError(f"{module.__file__}: defines no function {self.kind}; add it")
            return found
        own = [value for value in vars(module).values() if self._is_own(value, module)]
        if len(own) != 1:
            raise SettingError(
                f"{module.__file__}: defines {len(own)} subclasses of {self.kind.__name__}, a plug-in is one; start "
                "the names of other files with an underscore"
            )
        return _whole(own[0])

    def _is_own(self, value: Any, module: ModuleType) -> bool:
        of_kind = inspect.isclass(value) and isinstance(self.kind, type) and issubclass(value, self.kind)
        return of_kind and value.__module__ == module.__name__


def _whole(plugin: Any) -> Any:
    if missing := sorted(getattr(plugin, "__abstractmethods__", ())):
        raise SettingError(f"{plugin.__module__}.{plugin.__name__}: does not define {', '.join(missing)}; add it")
    return plugin


def names(room: str, group: str | None = None) -> set[str]:
    """The names of all plug-ins of a room.

    Raises:
        SettingError: when an installed package brings one of a name that there is already.
    """
    own, others = files_of(room), entry_points_of(group or room)
    if both := own & set(others):
        name = min(both)
        raise SettingError(f"{name}: an installed package brings a second one ({others[name].value}); remove it")
    return own | set(others)


def files_of(room: str) -> set[str]:
    """The names of the plug-ins that lie in a room."""
    folder = PACKAGE.joinpath(*room.split(".")[1:])
    return set(_files_in(folder, folder.stat().st_mtime_ns))


@functools.lru_cache
def _files_in(folder: Path, changed: int) -> frozenset[str]:
    """Looked for once, until the folder has changed: networks are built by name in every step."""
    return frozenset(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))


@functools.cache
def entry_points_of(group: str) -> dict[str, EntryPoint]:
    """The plug-ins of installed packages, not imported."""
    return {point.name: point for point in entry_points(group=group)}
