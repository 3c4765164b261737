"""What a command would do, without doing it: ``dry_run=true``, and ``dry_run=measure`` with a few timed steps."""

import dataclasses
import gc
import shlex
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from cmidd.cli.compose import compose
from cmidd.cli.refusals import one_line
from cmidd.cli.sweep_runs import Composer, Folders, runs_of
from cmidd.cli.words import as_hydra_reads, as_typed
from cmidd.utils.errors import SettingError
from cmidd.utils.text import duration

if TYPE_CHECKING:
    from cmidd.core.context import Context
    from cmidd.runs.beforehand import Timed
    from cmidd.runs.plan import Plan
    from cmidd.runs.settings import Settings


def show_run(settings: "Settings") -> None:
    """Print what a run would do, part by part, what is there of it, and how long the rest takes."""
    from cmidd.runs.plan import parts, plan

    planned = plan(settings)
    context = None if planned.finished else _context(settings)
    timed = _timed(settings, context) if context is not None and settings.dry_run == "measure" else None
    found = parts(settings, planned, context, timed)
    print(f"{planned.state}: {settings.folder}")
    for part in found:
        print(f"  {part.what:<13} {part.state}{'' if part.seconds == 0 else f'  [{_said(part.seconds)}]'}")
    known = [part.seconds for part in found if part.seconds is not None]
    if len(known) < len(found):
        unknown = dict.fromkeys(part.what for part in found if part.seconds is None)
        print(f"  in all        unknown: of {', '.join(unknown)} {_why_unknown(settings.dry_run)}")
    else:
        print(f"  in all        {duration(sum(known))}")


def show_sweep(words: list[str], how: str) -> None:
    """Print a line for every run of a sweep as soon as it is known, and the sum; exit code 1 where one is refused."""
    try:
        if ahead := [word for word in words if word.lstrip("+").startswith("prepare=")]:
            compose([*ahead, f"dry_run={how}"])  # Which refuses the two together.
        runs = runs_of(as_hydra_reads(words), f"dry_run={how}")
    except (HydraException, OmegaConfBaseException) as error:
        raise SettingError(one_line(error)) from error
    print(f"{len(runs)} runs:", flush=True)  # Now: the next import takes seconds.
    from cmidd.runs.plan import plan

    gc.freeze()  # A composition leaves many cycles; to look for them among all of torch takes as long again.
    gc.set_threshold(100_000)
    composer, folders = Composer(), Folders(runs)
    measured = _Measured()
    left: list[float | None] = []
    done = refused = 0
    for run in runs:
        command = shlex.join(as_typed(word) for word in run)
        try:
            settings = composer(run)
            folders.take(run, settings)
            planned = plan(settings)
            if how == "measure" and not planned.finished:
                planned = measured.plan_of(settings, planned)
        except (SettingError, OSError) as error:
            refused += 1
            print(f"{'refused':<40} {'':>10}  {command}\n        {one_line(error)}", flush=True)
            continue
        done += planned.state == "done"
        left.append(planned.seconds_left)
        print(f"{planned.state:<40} {_said(planned.seconds_left):>10}  {command}", flush=True)
    print(_sum(left, done, refused, how), measured.of_shared() if how == "measure" else NOT_COUNTED)
    if refused:
        sys.exit(1)


class _Measured:
    """Seconds of the runs of a sweep, measured once for every kind, and of what they share, each buffer, pool and
    baseline once.
    """

    def __init__(self) -> None:
        self._timed: dict[Any, Timed] = {}
        self._shared: dict[tuple[str, Path], float] = {}
        self._looked_at: set[str] = set()
        self._absent = False  # whether a data set is not here

    def plan_of(self, settings: "Settings", planned: "Plan") -> "Plan":
        """The plan of a run, at measured seconds where nothing is on record; what it shares is counted."""
        from cmidd.runs.costs import kind_of
        from cmidd.runs.plan import at_measured

        kind, alike = kind_of(settings.identity), str(dataclasses.replace(settings, seed=0))
        if alike not in self._looked_at:
            self._look(settings, kind, on_record=planned.seconds_left is not None)
            self._looked_at.add(alike)
        return planned if planned.seconds_left is not None else at_measured(settings, planned, self._timed.get(kind))

    def _look(self, settings: "Settings", kind: Any, *, on_record: bool) -> None:
        from cmidd.runs.beforehand import before

        if (context := _context(settings)) is None:
            self._absent = True
            return
        missing = any(part.place and part.seconds is None for part in before(settings, context))
        if kind not in self._timed and (missing or not on_record):
            self._timed[kind] = _timed(settings, context)
        for part in before(settings, context, self._timed[kind]) if missing else []:
            if part.place and part.seconds:
                key = part.what, part.place
                self._shared[key] = max(part.seconds, self._shared.get(key, 0.0))

    def of_shared(self) -> str:
        """How long what runs share takes, in words."""
        seconds: dict[str, float] = defaultdict(float)
        for (what, _), taken in self._shared.items():
            seconds[what] += taken
        of_others = ", without that of data sets that are not here" if self._absent else ""
        if not seconds:
            return f"Of what runs share (experts, teachers, baselines) all is there{of_others}."
        each = ", ".join(f"{what} {duration(taken)}" for what, taken in seconds.items())
        return f"What runs share takes {duration(sum(seconds.values()))} beside, once ({each}){of_others}."


NOT_COUNTED = "What runs share (experts, teachers, baselines) is not counted; dry_run=measure counts it."


def _sum(left: list[float | None], done: int, refused: int, how: str) -> str:
    """The last line: how many runs are done, and how long the others take, as far as anything tells."""
    known = [seconds for seconds in left if seconds is not None]
    unknown, lines = len(left) - len(known), [f"\n{done} of {len(left) + refused} runs done"]
    if len(known) > done:
        lines.append(f"{len(known) - done} take {duration(sum(known))} one after the other")
    if unknown:
        lines.append(f"of {unknown} {_why_unknown(how)}")
    if refused:
        lines.append(f"{refused} refused")
    return f"{'; '.join(lines)}."


def _why_unknown(how: bool | str) -> str:
    measured = "the data set is not here to be measured on" if how == "measure" else "dry_run=measure times a few steps"
    return f"nothing is on record; {measured}"


def _said(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


def _context(settings: "Settings") -> "Context | None":
    """The run's world, or None where its data set would have to be downloaded first."""
    from cmidd.compute.devices import pick_device
    from cmidd.data.published import PUBLISHED
    from cmidd.runs.build import make_context

    here = dataclasses.replace(settings, data=dataclasses.replace(settings.data, download=False))
    try:
        return make_context(here, pick_device("auto" if settings.device == "free_gpu" else settings.device))
    except SettingError:
        if settings.data.download and settings.dataset["name"] in PUBLISHED:
            return None
        raise


def _timed(settings: "Settings", context: "Context") -> "Timed":
    from cmidd.bench.estimate import timed_steps

    return timed_steps(settings, context)
