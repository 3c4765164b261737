"""Distil a data set into a few synthetic images per class, and measure what they are worth.

The same command resumes a stopped run, and skips a finished one.

Examples:
    cmidd distill method=mtt +cmi.lambda=0.1                 # the 8x8 digits with CMI: a few minutes on two CPU cores
    cmidd distill method=dm dataset=cifar10 ipc=10 cmi=paper # a cell of Table 1, with the published weight of CMI
    cmidd distill method=dm dataset=folder data.root=~/flowers dataset.size=64 network.depth=4 ipc=5
    cmidd distill +sweep=table1 dry_run=true                 # the runs of the whole table, and how long they take
"""

import statistics
from typing import Any

from cmidd.cli.admission import Admission, own_words
from cmidd.cli.dry_run import show_run
from cmidd.cli.prepare import prepare
from cmidd.runs.run import run
from cmidd.runs.settings import Settings


def main(settings: Settings, admission: Admission) -> float | dict[str, Any] | None:
    """Distil; returns the mean accuracy of the last iterate, which Optuna's sweeps maximise, or None for a dry run, or
    what was made with ``prepare``.
    """
    if settings.dry_run:
        show_run(settings)
        return None
    if settings.prepare:
        return prepare(settings, own_words(admission.chosen.words))
    return statistics.fmean(run(settings, admission).last["accuracies"])
