"""Stored synthetic sets, evaluated once more: does a record tell what its set is worth?"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cmidd.analysis.results import Result
from cmidd.compute.engine import Engine, fitted, using
from cmidd.runs.build import make_context
from cmidd.runs.run import evaluate_set
from cmidd.runs.settings import Settings
from cmidd.synthetic.classes import refuse_other_classes
from cmidd.synthetic.load import load_synthetic
from cmidd.utils.checking import checked
from cmidd.utils.noise import deviation, within_spreads


@dataclass(frozen=True)
class Verification:
    """What a record says (``stored``), and what was measured now, both in per cent for every network."""

    path: Path
    stored: list[float]
    measured: list[float]

    @property
    def verdict(self) -> str:
        """``equal``, or ``within the spread`` (means within two joint standard deviations), or ``DIFFERENT``."""
        if self.stored == self.measured:
            return "equal"
        gap = statistics.fmean(self.stored) - statistics.fmean(self.measured)
        alike = within_spreads(gap, deviation(self.stored), deviation(self.measured))
        return "within the spread" if alike else "DIFFERENT"


def sample(results: Sequence[Result], count: int, seed: int = 0) -> list[Result]:
    """At most ``count`` results whose synthetic set lies beside, drawn at random."""
    with_set = [result for result in results if result.set_path is not None]
    order = torch.randperm(len(with_set), generator=torch.Generator().manual_seed(seed))
    return [with_set[index] for index in order[:count]]


def verify(result: Result, device: torch.device, **free: Any) -> Verification:
    """Evaluate a stored set as its run did; on the same machine and versions the accuracies are the same bits.

    Args:
        free: as for :func:`rebuild`.

    Raises:
        SettingError: when the data set that lies there has other classes.
    """
    settings = rebuild(result, **free)
    context = make_context(settings, device)
    assert result.set_path is not None
    synthetic = load_synthetic(result.set_path, device)
    refuse_other_classes(synthetic.classes, context.data.classes, str(result.set_path), context.data.name)
    engine = Engine(**checked(Engine, result.record.engine or {}, f"{result.path}: engine"))
    with using(fitted(engine, context.data.device)):
        measured = evaluate_set(context, synthetic, settings.evaluation, result.record.last["iteration"])
    return Verification(result.path, result.accuracies, measured)


def rebuild(result: Result, **free: Any) -> Settings:
    """The settings of a run from its record.

    Args:
        free: settings that are no part of a record, such as where the data are.
    """
    return Settings(**checked(Settings, {**result.settings, "data": {}, **free}, ""))
