"""The seconds that the parts of a run take, each without the parts within it."""

import contextlib
import time
from collections.abc import Iterator

_taken: dict[str, float] = {}


def restart() -> None:
    """Forget what was measured: a new run begins in this process."""
    _taken.clear()


def taken() -> dict[str, float]:
    """Seconds by part, in the order in which parts ended first."""
    return dict(_taken)


def aside() -> float:
    """Seconds of all parts together: how much of the time since some moment went to parts is a difference of two."""
    return sum(_taken.values())


def add(part: str, seconds: float) -> None:
    """Count seconds to a part."""
    _taken[part] = _taken.get(part, 0.0) + seconds


@contextlib.contextmanager
def timed(part: str) -> Iterator[None]:
    """Count the seconds of a block to a part, but for what other parts within it took."""
    began, before = time.monotonic(), aside()
    try:
        yield
    finally:
        add(part, time.monotonic() - began - (aside() - before))
