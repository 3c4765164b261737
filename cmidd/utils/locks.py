"""Locks across processes, and shared work on files that are missing."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from cmidd.utils import files

log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool, below: Path | None = None) -> Iterator[bool]:
    """Hold the lock of ``path``, across processes; yields False when it is taken and ``wait`` is False.

    The operating system frees the lock when its process dies, however it dies. The lock's file goes at the end, and so
    do the folders above it that are empty then, if they were made for it or lie below ``below``: refused work leaves
    nothing.
    """
    beside = path.with_name(f".{path.name}.lock")
    lock, above = FileLock(beside), beside.absolute().parents
    made = [folder for folder in above if not folder.exists() or (below and below.absolute() in folder.parents)]
    try:
        ours = _acquire(lock, beside, wait)
        try:
            yield True
        finally:
            if ours:  # Still held: whoever waits for this file sees that it has no name any more, and makes a new one.
                with contextlib.suppress(OSError):
                    beside.unlink()
            lock.release()
    except _Taken:
        yield False
    finally:
        files.remove_empty(made)


class _Taken(Exception):
    """Another process holds the lock."""


def _acquire(lock: FileLock, beside: Path, wait: bool) -> bool:
    """Take the lock; whether its file is there for it alone, and was not left by a process that was killed."""
    for attempt in range(100):
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            before = _made(beside)
            lock.acquire(timeout=0)
        except Timeout as error:
            if not wait:
                raise _Taken from error
            with contextlib.suppress(FileNotFoundError):
                lock.acquire()
                return True
        except (FileNotFoundError, FileExistsError):
            if attempt == 99:
                raise
            time.sleep(0.001)  # Another process is removing the folders, which are empty.
        else:
            return before is None or before != _made(beside)
    raise AssertionError


def _made(path: Path) -> tuple[int, int] | None:
    """What tells a file from another of its name."""
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_ino, found.st_ctime_ns
    return None


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
            with locked(paths[index], wait=wait) as mine:
                if mine and not is_made(paths[index]):
                    make(index)
