"""Progress bars for whatever takes longer than two seconds; silent where nobody watches."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def progress(items: Iterable[T] | None, what: str | None, *, total: int | None = None, initial: int = 0) -> "tqdm[T]":
    """Iterate over ``items`` behind a bar that names ``what``; no bar for None, or when stderr is not a terminal.

    Without ``items`` its ``update`` moves the bar.
    """
    return tqdm(
        items,
        desc=what,
        total=total,
        initial=initial,
        disable=what is None or not sys.stderr.isatty(),
        dynamic_ncols=True,
        delay=0.5,
        leave=False,
    )
