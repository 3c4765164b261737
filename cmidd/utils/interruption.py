"""Signals that ask a run to stop (Slurm's preemption and time limit) wait until its state is saved."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Deferral:
    """Holds SIGTERM, SIGUSR1 and SIGUSR2 back."""

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
            self._former = {
                number: signal.signal(number, lambda number, _: self._received.append(number)) for number in SIGNALS
            }

    def _restore(self) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _deliver(self) -> None:
        for number in dict.fromkeys(self._received):
            signal.raise_signal(number)
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
