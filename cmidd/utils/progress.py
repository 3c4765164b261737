"""Progress of whatever takes time: a bar at a terminal; elsewhere, and in logs, a line every half minute at most."""

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, TypeVar

from tqdm.auto import tqdm

from cmidd.utils import clock
from cmidd.utils.text import duration, per_second

log = logging.getLogger(__name__)
T = TypeVar("T")
LINE_SECONDS = 30.0
FIRST_SECONDS = 5.0  # Before, a rate says little.
LOOK_SECONDS = 1.0  # between two readings of what a bar shows: each waits for the device
WINDOW, LEAST_MARKS = 60, 10  # seconds of the past that make the rate, and how many steps in any case
alone = True
"""Whether nobody else writes on this terminal: several bars there would overwrite each other."""
_last_line = -LINE_SECONDS


def bars() -> bool:
    """Whether bars are drawn."""
    return alone and sys.stderr.isatty()


def tell(logger: logging.Logger, message: str, *values: object) -> None:
    """Log what need not be read each time, where no line was written for half a minute."""
    global _last_line
    now = time.monotonic()
    if now - _last_line > LINE_SECONDS:
        _last_line = now
        logger.info(message, *values)


def progress(
    items: Iterable[T], what: str | None, *, total: int, initial: int = 0, unit: str = "iteration"
) -> "Progress[T]":
    """Iterate over ``items`` and tell how far ``what`` has come; nothing is told for None."""
    return Progress(items, what, total, initial, unit)


def counted(what: str, *, total: int, initial: int = 0, unit: str = "iteration") -> "Progress[None]":
    """Without items: ``update`` says what is done."""
    return Progress((), what, total, initial, unit)


class Progress(Generic[T]):
    """How far something has come, how fast it goes and how long it takes on.

    What :mod:`cmidd.utils.clock` counts to a part meanwhile (compiling, evaluations) does not slow the rate, and
    neither does the first step, which fills caches.
    """

    def __init__(self, items: Iterable[T], what: str | None, total: int, initial: int, unit: str) -> None:
        self.items, self.what, self.total, self.done, self.unit = items, what, total, initial, unit
        self._began, self._aside = time.monotonic(), clock.aside()
        self._marks: deque[tuple[float, int]] = deque([(0.0, initial)])  # seconds of work, and what was done by then
        self._steps, self._looked = 0, 0.0
        self._values: dict[str, float] = {}
        self._later: float | None = 0.0
        self._bar: tqdm[T] | None = None
        if what is not None and bars():
            self._bar = tqdm(
                desc=what,
                total=total,
                initial=initial,
                delay=0.5,
                leave=False,
                **_size(),
                bar_format="{desc}: {percentage:3.0f}%|{bar:12}| {n_fmt}/{total_fmt}{postfix}",
            )

    def __enter__(self) -> "Progress[T]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __iter__(self) -> Iterator[T]:
        with self:
            for item in self.items:
                yield item
                self.update()

    def looks(self) -> bool:
        """Whether what :meth:`say` is told now will be seen, so that it is worth reading from the device."""
        now = time.monotonic()
        return self._line_due(now) or (self._bar is not None and now - self._looked > LOOK_SECONDS)

    def say(self, **values: float) -> None:
        """What is shown from now on beside the count."""
        self._values |= values
        self._looked = time.monotonic()

    def later(self, seconds: float | None) -> None:
        """How long what comes beside the steps takes (evaluations); None where that is not known yet."""
        self._later = seconds

    def update(self, steps: int = 1) -> None:
        """So many more are done; fewer than before, where a run goes back."""
        now = time.monotonic()
        worked = now - self._began - (clock.aside() - self._aside)
        self.done += steps
        if steps <= 0:
            self._marks = deque([(worked, self.done)])  # The rate begins anew.
        else:
            self._remember(worked)
        if self._line_due(now):
            self._line(now)
        if self._bar is not None:
            *values, left = self._said() or [""]  # Time first: a narrow terminal cuts the end.
            self._bar.set_postfix_str(", ".join([left, *values]), refresh=False)
            self._bar.update(steps)

    @property
    def seconds_each(self) -> float | None:
        """Seconds of one step by now; None while only the first is known, unless that took so long that it tells."""
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        known = last > first and (self._steps > 1 or ended - began > LINE_SECONDS)
        return (ended - began) / (last - first) if known else None

    def _remember(self, worked: float) -> None:
        """Keep a mark for each second of the window, and one for now."""
        marks, self._steps = self._marks, self._steps + 1
        if self._steps == 2:  # From here on the rate is that of the steps after the first.
            marks.popleft()
        if len(marks) > 1 and worked - marks[-2][0] < 1.0:
            marks.pop()
        marks.append((worked, self.done))
        while len(marks) > LEAST_MARKS and worked - marks[0][0] > WINDOW:
            marks.popleft()

    def _line_due(self, now: float) -> bool:
        each = self.seconds_each
        if self.what is None or each is None or each * (self.total - self.done) < FIRST_SECONDS:
            return False  # Nothing tells how long, or it is over before anybody has read of it.
        return now - self._began > FIRST_SECONDS and now - _last_line > LINE_SECONDS

    def _line(self, now: float) -> None:
        global _last_line
        _last_line = now
        at = f"{self.unit} {self.done} of {self.total}"
        log.info("%s: %s", self.what, ", ".join([at, *self._said()]), extra={"progress": True})

    def _said(self) -> list[str]:
        """The values, the rate and the time left, in words."""
        said, each = [f"{name} {value:.4g}" for name, value in self._values.items()], self.seconds_each
        if each is None:
            return said
        said.append(per_second(each, self.unit))
        left = each * (self.total - self.done)
        if self._later is None:
            return [*said, f"{duration(left)} left without evaluations"]
        return [*said, f"{duration(left + self._later)} left"]


def _size() -> dict[str, Any]:
    """What tqdm is told of the terminal: to ask for its size, or one where it says none, which would show nothing."""
    try:
        known = min(os.get_terminal_size(sys.stderr.fileno())) > 0
    except (OSError, ValueError):
        known = False
    return {"dynamic_ncols": True} if known else {"ncols": 100, "nrows": 24}


class Lines(logging.Filter):
    """Keeps lines of progress from where bars are."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        return not (bars() and getattr(record, "progress", False))
