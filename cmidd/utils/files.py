"""Files and folders that are whole or absent: written beside their place and renamed."""

import contextlib
import errno
import glob
import itertools
import json
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cmidd.utils.errors import SettingError
from cmidd.utils.text import in_bytes

log = logging.getLogger(__name__)
FULL, QUOTA = "No space left on device", "Disk quota exceeded"  # As the system says, in libraries' texts too.
FEW_FILES = 100  # A disk that has no more inodes is full whatever space is free; some come back as one gives up.
DAY = 86_400  # seconds; no file takes as long to write, nor do clocks differ by as much
MOST_TEXT = 64 * 2**20  # bytes of a file that is parsed; a record has some thousand


@contextlib.contextmanager
def atomic_write(path: Path, size: int | None = None) -> Iterator[Path]:
    """Yield a path in a folder of this process beside ``path``; on success it is flushed and renamed to ``path``.

    In a folder, because a library may write a file of its own first and rename it (safetensors does): whatever a
    process that was killed leaves lies in there, and goes when the next one writes the same file.

    Args:
        size: bytes that will be written, for the error of a full disk.
    """
    with _naming(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
        part.mkdir(exist_ok=True)
        try:
            yield part / "new"
            with (part / "new").open("rb+") as file:
                os.fsync(file.fileno())
            _allow_all_that_may(part / "new")
            (part / "new").replace(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """As :func:`atomic_write`, for a folder: yields one beside ``path``, which must be absent or empty."""
    made = absent_parents(path)
    part = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.part")
    with _naming(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            part.mkdir(exist_ok=True)
            yield part
            if sys.platform == "win32" and path.exists():  # Where no folder takes another's place, not an empty one's.
                path.rmdir()
            part.replace(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
            remove_empty(made)


def _allow_all_that_may(new: Path) -> None:
    """Let everybody read and write a file whom the system lets use the folder that was made for it (by the umask, or as
    the folders above say): safetensors makes its files the owner's alone.
    """
    allowed = new.parent.stat().st_mode & 0o666
    if new.stat().st_mode & 0o777 != allowed:
        with contextlib.suppress(OSError):  # Of a file system that has no such modes.
            new.chmod(allowed)


def absent_parents(path: Path) -> list[Path]:
    """The folders above ``path`` that are not there yet, the lowest first."""
    return [folder for folder in path.absolute().parents if not folder.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, the lowest first, until one holds something."""
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return


def _remove_leftovers(path: Path) -> None:
    """Remove what dead processes were writing for ``path``: of this machine, or of another a day ago."""
    before = f".{path.name}.{socket.gethostname()}."
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        number = part.name.removeprefix(before).removesuffix(".part")
        if not _alive(int(number)) if number.isdecimal() else _older(part, DAY):
            shutil.rmtree(part, ignore_errors=True)


def _older(path: Path, seconds: float) -> bool:
    with contextlib.suppress(OSError):  # It may be gone by now.
        return time.time() - path.stat().st_mtime > seconds
    return False


def _alive(process: int) -> bool:
    if sys.platform == "win32":  # Where os.kill(process, 0) is Ctrl-C.
        import psutil

        return bool(psutil.pid_exists(process))
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # Somebody else's.
        return True
    return True


@contextlib.contextmanager
def _naming(path: Path, size: int | None = None) -> Iterator[None]:
    """Have an error of the system name the file: that of a full disk names none, nor what is needed."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        needed = f"{'more' if size is None else in_bytes(size)} needed in {path.parent}"
        if error.errno == errno.EDQUOT or QUOTA in str(error):  # Of which what the disk has free says nothing.
            error.strerror = f"{QUOTA}: {needed}; it may be that of files, not of space"
        elif error.errno == errno.ENOSPC or FULL in str(error):
            error.strerror = f"{FULL}: {needed}, {_free(path)} free"
        raise


def _free(path: Path) -> str:
    """What the disk of ``path`` has room for, in words."""
    there = next(folder for folder in path.absolute().parents if folder.exists())
    space, more = in_bytes(shutil.disk_usage(there).free), ""
    if hasattr(os, "statvfs") and (found := os.statvfs(there)).f_files and found.f_favail < FEW_FILES:
        more = f" and {found.f_favail} inodes (df -i)"
    return space + more


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    data = text.encode()
    with atomic_write(path, len(data)) as beside:
        beside.write_bytes(data)


def append_line(path: Path, line: str) -> None:
    """Append one line; of one that a kill or a full disk cuts short the line break is missing."""
    with _naming(path), path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def unused(stem: Path, suffixes: Sequence[str]) -> list[Path]:
    """``<stem><n>.<suffix>`` for every suffix, with the first number n for which none of these exists."""
    for number in itertools.count(1):
        paths = [stem.with_name(f"{stem.name}{number}.{suffix}") for suffix in suffixes]
        if not any(path.exists() for path in paths):
            return paths
    raise AssertionError


def unfinished(path: Path) -> Path:
    """Where what becomes ``path`` is kept while it is made."""
    return path.with_name(f"{path.stem}.unfinished{path.suffix}")


def is_unfinished(path: Path) -> bool:
    """Whether it is kept while another file is made."""
    return path.stem.endswith(".unfinished")


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
