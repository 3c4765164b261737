"""The wait for torch.compile: said when it begins, and counted apart from the steps that it delays."""

import functools
import logging
import time
from typing import Any

from cmidd.utils import clock

log = logging.getLogger(__name__)
PART = "compiling"
MOST_COMPILED = 64
# What torch's compiler warns of where nobody can do anything about it: that there is no CUDA to build extensions with,
# and what it will not try on this device.
QUIET = ("torch.utils.cpp_extension", "torch._inductor.utils", "torch._inductor.compile_fx")


@functools.cache
def watch() -> None:
    """Tell of compilations from now on; torch compiles not when it is told to, but at the first pass."""
    from torch._dynamo import config
    from torch._dynamo.callback import callback_handler

    # For each pass, beyond which torch silently compiles no more: shapes, with and without gradient, kinds of networks.
    config.recompile_limit = max(config.recompile_limit, MOST_COMPILED)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    callback_handler.register_start_callback(_begins)
    callback_handler.register_end_callback(_ends)


@functools.cache
def _say_once() -> None:
    log.info("compiling the passes of the networks; takes about a minute, once per machine")


_began: list[float] = []


def _begins(_: Any) -> None:
    _say_once()
    _began[:] = [time.monotonic()]


def _ends(_: Any) -> None:
    if _began:
        clock.add(PART, time.monotonic() - _began.pop())
