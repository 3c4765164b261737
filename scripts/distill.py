"""Distil a data set: ``python scripts/distill.py method=mtt +cmi.lambda=0.1``."""

import statistics
from typing import Any

from cmidd.cli import Admitted, app
from cmidd.run import run
from cmidd.settings import Settings
from cmidd.sweeps import Plan, plan


def main(settings: Settings, arguments: dict[str, Any], admitted: Admitted) -> float | Plan:
    """Distil; returns the mean accuracy of the last iterate, which Optuna's sweeps maximise."""
    if settings.dry_run:
        return plan(settings)
    return statistics.fmean(run(settings, arguments, admitted)["last"]["accuracies"])


if __name__ == "__main__":
    app(main)
