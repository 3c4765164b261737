"""Distil a data set: ``python scripts/distill.py method=mtt +cmi.lambda=0.1``."""

import statistics
from typing import TYPE_CHECKING

from cmidd.cli.app import Admitted, app

if TYPE_CHECKING:
    from cmidd.runs.plan import Plan
    from cmidd.runs.settings import Settings


def main() -> None:
    """Run the command."""
    app(distill)


def distill(settings: "Settings", admitted: Admitted) -> "float | Plan":
    """Distil; returns the mean accuracy of the last iterate, which Optuna's sweeps maximise."""
    from cmidd.runs.plan import plan
    from cmidd.runs.run import run

    return plan(settings) if settings.dry_run else statistics.fmean(run(settings, admitted).last["accuracies"])
