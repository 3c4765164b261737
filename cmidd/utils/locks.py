"""Locks across processes, and shared work on files that are missing."""

import contextlib
import errno
import functools
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from cmidd.utils import files
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)
LOCKLESS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)  # of file systems that refuse flock
warnings.filterwarnings("ignore", "flock not supported")  # We say it, with what follows from it.
POLL_SECONDS = 0.5  # between two looks at what others are at work on; making it takes seconds to hours


class Busy(Exception):
    """Other processes are at work on ``paths``, and :func:`deal_out` does not wait for them."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__(f"another process is at work on {paths[0]}")
        self.paths = paths


@dataclass
class Share:
    """What the jobs that :func:`deal_out` does ask for, and what of it this process made."""

    asked: set[Path] = field(default_factory=set)
    made: set[Path] = field(default_factory=set)


_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextlib.contextmanager
def locked(path: Path, *, wait: bool, below: Path | None = None) -> Iterator[bool]:
    """Hold the lock of ``path``, across processes; yields False when it is taken and ``wait`` is False.

    In a job of :func:`deal_out` nobody waits: :class:`Busy` is raised instead.

    The operating system frees the lock when its process dies, however it dies; where the file system has no flock (as
    Lustre mounted without it), the next process of the same machine does. The lock's file goes at the end, and so do
    the folders above it that are empty then, if they were made for it or lie below ``below``: refused work leaves
    nothing.

    Raises:
        SettingError: when the file system refuses locks.
    """
    beside = _file_of(path)
    lock, above, share = FileLock(beside), beside.absolute().parents, _share.get()
    made = [folder for folder in above if not folder.exists() or (below and below.absolute() in folder.parents)]
    try:
        ours = _acquire(lock, beside, wait and share is None)
        if isinstance(lock, SoftFileLock):
            _say_soft()
        before = _made(path)
        try:
            yield True
        finally:
            if share is not None:
                share.asked.add(path)
                share.made |= {path} if _made(path) not in (None, before) else set()
            if ours:  # Still held: whoever waits for this file sees that it has no name any more, and makes a new one.
                with contextlib.suppress(OSError):
                    beside.unlink()
            lock.release()
    except _Taken as taken:
        if wait:
            raise Busy([path]) from taken
        yield False
    finally:
        files.remove_empty(made)


def taken_by(path: Path) -> str:
    """Who holds the lock of ``path``, in words, where it is no flock and stays when that process is killed."""
    with contextlib.suppress(OSError, ValueError):
        process, host, *_ = _file_of(path).read_text(encoding="utf-8").split()
        return f" (process {process} on {host}; if that is gone, remove {_file_of(path)})"
    return ""


@functools.cache
def _say_soft() -> None:
    log.warning(
        "the file system has no flock: locks are files, and what a killed process holds is free again on its own "
        "machine alone (elsewhere a message says what to remove)"
    )


def _file_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


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
        except OSError as error:
            if error.errno not in LOCKLESS:
                raise
            if before is None:
                beside.unlink(missing_ok=True)
            raise SettingError(
                f"{beside}: its file system refuses locks ({error.strerror}), by which processes share work; give a "
                "results_root, buffers_root and data.root on one that has flock, across machines if several are at work"
            ) from error
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
    left, told, share = list(range(len(paths))), False, _share.get()
    if share is not None:
        share.asked.update(paths)
    while left:
        with contextlib.ExitStack() as held:
            if mine := _take(paths, left, is_made, at_once, held):
                make(mine)
        if left and not mine:
            if share is not None:
                raise Busy([paths[index] for index in left])
            if not told:
                first = paths[left[0]]
                log.info("waiting for %s, which another process is making%s", first, taken_by(first))
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


def deal_out(jobs: Sequence[Callable[[], None]]) -> Share:
    """Do all jobs, which other processes do as well; returns what was asked for, and what this process made of it.

    A job makes files, each under its lock (:func:`locked`, :func:`make_missing`), and does nothing when they are there.
    Where others hold the locks of all that is left of it, the next job is taken, and this one again when one of these
    locks is free: the other process has made its file, so that more can be made now, or has died. So nobody waits while
    any job has work that can be done, and nothing is made twice.
    """
    share, told = Share(), False
    left: dict[int, list[Path]] = {index: [] for index in range(len(jobs))}
    while left:
        idle = True
        for index, others in list(left.items()):
            if others and all(map(_is_taken, others)):
                continue
            idle, token = False, _share.set(share)
            try:
                jobs[index]()
                del left[index]
            except Busy as busy:
                left[index] = list(busy.paths)
            finally:
                _share.reset(token)
        if idle:
            if not told:
                first = next(iter(left.values()))[0]
                log.info(
                    "all that is left to make is in the hands of other processes, which are waited for; first for %s%s",
                    *(first, taken_by(first)),
                )
            told = True
            time.sleep(POLL_SECONDS)
    return share


def _is_taken(path: Path) -> bool:
    """Whether another process holds the lock of a file now."""
    with locked(path, wait=False) as free:
        return not free
