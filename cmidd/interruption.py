"""Signals that ask a run to stop (Slurm's preemption and time limit) wait until its state is saved."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


@contextlib.contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Hold SIGTERM, SIGUSR1 and SIGUSR2 back; yields a function that tells whether one has come.

    On leaving, whoever handled them before (submitit, which requeues the job, or the system, which ends the
    process) gets what came; if that one ignores it, the process ends here all the same.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    received: list[int] = []
    former = {number: signal.signal(number, lambda number, _: received.append(number)) for number in SIGNALS}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler or signal.SIG_DFL)
    for received_number in dict.fromkeys(received):
        signal.raise_signal(received_number)
        raise SystemExit(128 + received_number)
