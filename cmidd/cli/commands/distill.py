"""Distil a data set: ``python scripts/distill.py method=mtt +cmi.lambda=0.1``."""

import statistics
import sys
from typing import TYPE_CHECKING

from cmidd.cli import dry_run
from cmidd.cli.app import Admitted, app
from cmidd.utils.errors import one_line_errors

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings


def main() -> None:
    """Run the command."""
    if how := dry_run.asked(sys.argv[1:]):
        with one_line_errors():
            dry_run.show_sweep(sys.argv[1:], how)
    else:
        app(distill, plans=True)


def distill(settings: "Settings", admitted: Admitted) -> float | None:
    """Distil; returns the mean accuracy of the last iterate, which Optuna's sweeps maximise, or None for a dry run."""
    from cmidd.runs.run import run

    if settings.dry_run:
        dry_run.show_run(settings)
        return None
    return statistics.fmean(run(settings, admitted).last["accuracies"])
