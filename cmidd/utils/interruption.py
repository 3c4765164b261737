"""Signals that ask a run to stop (Ctrl-C, a closed terminal, Slurm's time limit) wait until its state is saved.

Windows has fewer of them, and SIGBREAK (Ctrl-Break, a closed console) in place of SIGHUP.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGUSR1", "SIGUSR2")
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Stopped(SystemExit):
    """The process was asked to stop; its exit code is 128 and the signal's number.

    Attributes:
        saved: whether whoever was at work has saved its state, and said so.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.saved = False


@contextlib.contextmanager
def stopping_in_order() -> Iterator[None]:
    """Have the :data:`SIGNALS` raise :class:`Stopped`, not end in a traceback or suddenly, where nobody else handles
    them.
    """

    def stop(number: int, _: Any) -> None:
        raise Stopped(number)

    former = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                former[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class Deferral:
    """Holds :data:`SIGNALS` back, but for those that the process ignores, as below ``nohup``; a second Ctrl-C ends the
    process at once.
    """

    def __init__(self) -> None:
        self._received: list[int] = []
        self._former: dict[int, Any] = {}

    @property
    def asked_to_stop(self) -> bool:
        """Whether a signal has come."""
        return bool(self._received)

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """For a time when nothing is unsaved: what comes, or has come, takes effect at once."""
        self._restore()
        self._deliver()
        try:
            yield
        finally:
            self._hold()

    def _hold(self) -> None:
        if threading.current_thread() is threading.main_thread():
            heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
            self._former = {number: signal.signal(number, self._note) for number in heeded}

    def _note(self, number: int, _: Any) -> None:
        if number == signal.SIGINT and number in self._received:
            raise Stopped(number)
        self._received.append(number)

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _deliver(self) -> None:
        for number in dict.fromkeys(self._received):
            try:
                signal.raise_signal(number)
            except Stopped as stopped:
                stopped.saved = True
                raise
            raise SystemExit(128 + number)


@contextlib.contextmanager
def deferred_signals() -> Iterator[Deferral]:
    """Hold the signals back for a block that saves its state and leaves when it is asked to stop.

    On leaving, whoever handled them before (submitit, which requeues the job, or the system, which ends the
    process) gets what came; if that one ignores it, the process ends here all the same.
    """
    deferral = Deferral()
    deferral._hold()
    try:
        yield deferral
    finally:
        deferral._restore()
    deferral._deliver()
