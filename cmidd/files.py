"""Files that are whole or absent: written beside their place and renamed, guarded by locks, keyed by content."""

import contextlib
import glob
import hashlib
import itertools
import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cmidd.errors import SettingError

log = logging.getLogger(__name__)
MOST_TEXT = 64 * 2**20  # bytes of a file that is parsed; a record has some thousand


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path in a folder of this process beside ``path``; on success it is flushed and renamed to ``path``.

    In a folder, because a library may write a file of its own first and rename it (safetensors does): whatever a
    process that was killed leaves lies in there, and goes when the next one writes the same file.
    """
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
        part.mkdir(exist_ok=True)
        try:
            yield part / "new"
            with (part / "new").open("rb+") as file:
                os.fsync(file.fileno())
            (part / "new").replace(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what processes of this machine that are dead were writing for ``path``."""
    before = f".{path.name}.{socket.gethostname()}."
    for part in path.parent.glob(f"{glob.escape(before)}*.part"):
        number = part.name.removeprefix(before).removesuffix(".part")
        if number.isdecimal() and not _alive(int(number)):
            shutil.rmtree(part, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # Somebody else's.
        return True
    return True


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an error of the system name the file: that of a full disk names none."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def append_line(path: Path, line: str) -> None:
    """Append one line; of one that a kill or a full disk cuts short the line break is missing."""
    with _naming(path), path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write a safetensors file whole or not at all; ``about`` (JSON) travels in its header."""
    on_cpu = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with written_whole(path) as beside:
        try:
            save_file(on_cpu, beside, metadata={"about": json.dumps(about)})
        except SafetensorError as error:  # The system's error, as text.
            raise OSError(0, str(error), str(path)) from error


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and ``about`` of a file made by :func:`write_tensors`.

    Raises:
        SettingError: when it is damaged.
    """
    with _opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return tensors, _about(file, path)


def read_shapes(path: Path) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """The shapes of a file's tensors, which are not read, and its ``about``.

    Raises:
        SettingError: when it is damaged.
    """
    with _opened(path) as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return shapes, _about(file, path)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise SettingError(f"{path}: no such file; make it again")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, AttributeError, TypeError) as error:  # The last two: a type that torch does not have.
        raise SettingError(
            f"{path}: damaged or not a safetensors file ({error}); move it away, or make it again"
        ) from error


def _about(file: Any, path: Path) -> dict[str, Any]:
    about = parsed((file.metadata() or {}).get("about", "{}"), path)
    if not isinstance(about, dict):
        raise SettingError(f"{path}: its header says {str(about)[:40]!r} instead of how it was made; make it again")
    return about


def unused(stem: Path, suffixes: Sequence[str]) -> list[Path]:
    """``<stem><n>.<suffix>`` for every suffix, with the first number n for which none of these exists."""
    for number in itertools.count(1):
        paths = [stem.with_name(f"{stem.name}{number}.{suffix}") for suffix in suffixes]
        if not any(path.exists() for path in paths):
            return paths
    raise AssertionError


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits that name what made a cached file."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


@contextlib.contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of ``path``, across processes; yields False when it is taken and ``wait`` is False.

    The operating system frees the lock when its process dies, however it dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def make_missing(
    paths: Sequence[Path], make: Callable[[int], None], is_made: Callable[[Path], bool] = Path.exists
) -> None:
    """Call ``make(index)`` for every path that is absent, or of which ``is_made`` says that it falls short.

    Several processes that want the same files share the work, each file under a lock of its own.
    """
    missing = [index for index, path in enumerate(paths) if not is_made(path)]
    # First what nobody else is at work on, then wait for the others.
    for wait in (False, True):
        for index in missing:
            if is_made(paths[index]):
                continue
            if wait:
                log.info("waiting for %s, which another process is making", paths[index])
            with claimed(paths[index], wait=wait) as mine:
                if mine and not is_made(paths[index]):
                    make(index)


def unfinished(path: Path) -> Path:
    """Where what becomes ``path`` is kept while it is made."""
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


def remove_unfinished(path: Path) -> None:
    """Remove what was kept while ``path`` was made."""
    if (beside := unfinished(path)).exists():  # Asked first: on a read-only disk nothing can be removed.
        beside.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        SettingError: when it is absent or damaged.
    """
    return parsed(_read(path), path)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of ``metrics.jsonl``, each with its ``iteration``; one that was cut short at the end is left out.

    Raises:
        SettingError: when a line is damaged.
    """
    rows = [parsed(line, path) for line in _read(path).splitlines(keepends=True) if line.endswith(b"\n")]
    for number, row in enumerate(rows, 1):
        numbers = row.values() if isinstance(row, dict) and isinstance(row.get("iteration"), int) else [None]
        if not all(isinstance(value, int | float) for value in numbers):
            raise SettingError(f"{path}: line {number} is no row of metrics: {str(row)[:80]}; remove it")
    return rows


def parsed(text: str | bytes, path: Path) -> Any:
    """JSON that stands in ``path``.

    Raises:
        SettingError: when it is damaged; NaN and infinities count as damage, as no record holds them.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise SettingError(f"{path}: damaged, not JSON ({error}); move it away, or make it again") from error


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise SettingError(f"{path}: no such file; make it again")
    if (size := path.stat().st_size) > MOST_TEXT:
        raise SettingError(f"{path}: has {size} bytes, at most {MOST_TEXT} are read; move it away")
    return path.read_bytes()


def as_json(value: Any) -> Any:
    """``value`` as it would come back from a JSON file."""
    return json.loads(json.dumps(value))
