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
    paths: Sequence[Path],
    make: Callable[[list[int]], None],
    is_made: Callable[[Path], bool] = Path.exists,
    at_once: int = 1,
) -> None:
    """Call ``make`` with the indices of paths that are absent, or of which ``is_made`` says that they fall short.

    Several processes that want the same files share the work, each file under a lock of its own: first what nobody else
    is at work on, then they wait for the others.

    Args:
        make: makes the files of all indices that it is given, whose locks are held until it returns.
        at_once: how many indices it is given at most; fewer where others hold the rest, for nobody waits with a lock.
    """
    left, told = list(range(len(paths))), False
    while left:
        with contextlib.ExitStack() as held:
            if mine := _take(paths, left, is_made, at_once, held):
                make(mine)
        if left and not mine:
            if not told:
                log.info("waiting for %s, which another process is making", paths[left[0]])
            told = True
            with locked(paths[left[0]], wait=True):
                pass


def _take(
    paths: Sequence[Path],
    left: list[int],
    is_made: Callable[[Path], bool],
    at_once: int,
    held: contextlib.ExitStack,
) -> list[int]:
    """The first indices that nobody is at work on, whose locks are ``held`` from here on; they and what is made by now
    are no longer ``left``.
    """
    mine: list[int] = []
    for index in list(left):
        if len(mine) == at_once:
            break
        with contextlib.ExitStack() as own:
            if is_made(paths[index]):
                left.remove(index)
            elif own.enter_context(locked(paths[index], wait=False)):
                left.remove(index)
                if not is_made(paths[index]):  # Nor was it made since we looked.
                    mine.append(index)
                    held.enter_context(own.pop_all())
    return mine
