"""What runs share, made ahead of them: experts, teachers, baselines and what these need, decoded pictures."""

import functools
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import torch

from cmidd.buffers.experts import Experts
from cmidd.compute.devices import claimed_device
from cmidd.compute.engine import using
from cmidd.core.context import Context
from cmidd.data.dataset import Dataset
from cmidd.evaluation.baselines import baseline_file, baselines
from cmidd.evaluation.chosen_images import RULES
from cmidd.evaluation.feature_networks import feature_networks
from cmidd.evaluation.protocols import Kind
from cmidd.methods import METHODS
from cmidd.runs.additions import asked_beside
from cmidd.runs.build import context_of, expert_settings, fitting_engine, load_data, make_regularizers, make_teachers
from cmidd.runs.recipes import refuse_soft_labels
from cmidd.runs.run_folder import read_finished, refuse_other_settings
from cmidd.runs.settings import Settings
from cmidd.utils import cache, locks
from cmidd.utils.errors import SettingError

FOLDERS = ("images", "experts", "teachers", "baselines")
"""Where below ``buffers_root`` they are kept."""

Maker = Callable[[Settings, Context], None]


def make_shared(runs: Sequence[Settings]) -> dict[str, list[int]]:
    """Make what the unfinished ones of these runs share, dealt out among all processes that do the same; it computes
    where the first of them does, and begins with what that one needs.

    Returns:
        Of each of :data:`FOLDERS` that has any how many files the runs need, and how many this process made.

    Raises:
        SettingError: naming the parts that could not be made, after all others were. Runs that would be refused
            themselves are left out.
    """
    roots = {Path(settings.buffers_root) for settings in runs}
    with claimed_device(runs[0].device) as device:
        work = _Work(device)
        jobs = [functools.partial(work.do, part, settings) for settings, parts in _needed(runs) for part in parts]
        share = locks.deal_out(jobs)
    if work.refused:
        raise SettingError("; ".join(work.refused))
    found = {}
    for name in FOLDERS:
        folders = [root / name for root in roots]
        asked = {path for path in share.asked if any(folder in path.parents for folder in folders)}
        if asked:
            found[name] = [len(asked), len(asked & share.made)]
    return found


def parts_of(settings: Settings) -> list[Maker]:
    """What a run needs that others may need as well, as far as it is not finished.

    Raises:
        SettingError: when the run would be refused.
    """
    refuse_soft_labels(settings)
    refuse_other_settings(settings)
    finished = (settings.folder / "DONE").exists()
    beside = asked_beside(settings, read_finished(settings.folder)) if finished else []
    parts: list[Maker] = []
    if not finished and expert_settings(settings):
        parts.append(_make_experts)
    if settings.taught and (not finished or "CMI of the last set" in beside):
        parts.append(_make_teachers)
    if not finished or "baselines" in beside:
        parts.append(_make_features)
        parts += [functools.partial(_measure, kind=kind) for kind in settings.evaluation.baselines]
    return parts


def _needed(runs: Sequence[Settings]) -> list[tuple[Settings, list[Maker]]]:
    """The runs with their parts, those of one data set after another, without those that differ but in their seed."""
    found: dict[str, tuple[Settings, list[Maker]]] = {}
    for settings in runs:
        with suppress(SettingError):
            parts = parts_of(settings)
            found.setdefault(f"{len(parts)} {replace(settings, seed=0)}", (settings, parts))
    sets = [_data_of(settings) for settings, _ in found.values()]
    return sorted(found.values(), key=lambda each: sets.index(_data_of(each[0])))


def _data_of(settings: Settings) -> str:
    return str((settings.dataset, settings.data))


class _Work:
    """Does parts, and remembers what was read for the last one and what could not be made."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.refused: list[str] = []
        self._data: tuple[str, Dataset] | None = None
        self._context: tuple[Settings, Context] | None = None
        self._taught: set[str] = set()

    def do(self, part: Maker, settings: Settings) -> None:
        """Make a part of a run; one that is refused is left to the end, with its reason."""
        try:
            context = self._world(settings)
            with using(fitting_engine(settings, context)):
                if part is _make_teachers:
                    self._once(part, settings, context)
                else:
                    part(settings, context)
        except SettingError as error:
            self.refused.append(f"{error} (for {settings.folder})")

    def _once(self, part: Maker, settings: Settings, context: Context) -> None:
        """Teachers that were made for another run are not read again, which takes long where they are many."""
        cmi = {name: value for name, value in asdict(settings.cmi).items() if name not in ("weight", "ratio")}
        made_by = {**context.made_by, "network": context.network, "cmi": cmi, "others": settings.regularizers}
        if (key := cache.fingerprint(made_by)) not in self._taught:
            part(settings, context)
            self._taught.add(key)

    def _world(self, settings: Settings) -> Context:
        if self._context is None or self._context[0] is not settings:
            if self._data is None or self._data[0] != _data_of(settings):
                self._data = self._context = None  # Before the next data set is read.
                self._data = _data_of(settings), load_data(settings, self.device)
            # Nothing that is shared depends on where a run starts: noise takes no time.
            self._context = settings, context_of(replace(settings, init="noise"), self._data[1])
        return self._context[1]


def _make_experts(settings: Settings, context: Context) -> None:
    METHODS[settings.method["name"]].refuse(settings.arguments, context.blank_network())
    if experts := expert_settings(settings):
        Experts(context, experts)


def _make_teachers(settings: Settings, context: Context) -> None:
    make_regularizers(settings, context, make_teachers(settings, context))


def _make_features(settings: Settings, context: Context) -> None:
    """The networks for baselines that are still to be measured, which several processes can train at once."""
    protocol = settings.evaluation
    chosen = [kind for kind in protocol.baselines if kind in RULES]
    if not all(baseline_file(context, protocol, settings.ipc, kind)[0].exists() for kind in chosen):
        feature_networks(context, protocol.features)


def _measure(settings: Settings, context: Context, kind: Kind) -> None:
    """One baseline: in the order of :func:`baselines` one that is busy would hold up the next."""
    baselines(context, replace(settings.evaluation, baselines=(kind,)), settings.ipc)
