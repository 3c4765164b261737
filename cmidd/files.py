"""Files that are whole or absent: written beside their place and renamed, guarded by locks, keyed by content."""

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cmidd.errors import SettingError

MOST_TEXT = 64 * 2**20  # bytes of a file that is parsed; a record has some thousand


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it is flushed to disk and renamed to ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with written_whole(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write a safetensors file whole or not at all; ``about`` (JSON) travels in its header."""
    on_cpu = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with written_whole(path) as beside:
        save_file(on_cpu, beside, metadata={"about": json.dumps(about)})


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
