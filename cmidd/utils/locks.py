"""Locks across processes, and shared work on files that are missing."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from cmidd.utils import files

log = logging.getLogger(__name__)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock of ``path``, across processes; yields False when it is taken and ``wait`` is False.

    The operating system frees the lock when its process dies, however it dies. The lock's file and folders that were
    made for it go again at the end, those that hold something else excepted: work that is refused leaves nothing.
    """
    beside = path.with_name(f".{path.name}.lock")
    made, ours = files.absent_parents(beside), not beside.exists()
    lock = FileLock(beside)
    try:
        _acquire(lock, beside, wait)
        try:
            yield True
        finally:
            if ours:  # Still held: whoever waited for this file sees that it has no name any more, and makes a new one.
                with contextlib.suppress(OSError):
                    beside.unlink()
            lock.release()
    except _Taken:
        yield False
    finally:
        files.remove_empty(made)


class _Taken(Exception):
    """Another process holds the lock."""


def _acquire(lock: FileLock, beside: Path, wait: bool) -> None:
    """Take the lock, and make its folders; another process may be removing them."""
    for attempt in range(100):
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=-1 if wait else 0)
        except FileNotFoundError:
            if attempt == 99:
                raise
        except Timeout as error:
            raise _Taken from error
        else:
            return


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
