"""Distil a data set into a few synthetic images per class, and measure what they are worth.

The same command resumes a stopped run, and skips a finished one.

Examples:
    cmidd distill method=mtt +cmi.lambda=0.1                 # the 8x8 digits with CMI: a few minutes on two CPU cores
    cmidd distill method=dm dataset=cifar10 ipc=10 cmi=paper # a cell of Table 1, with the published weight of CMI
    cmidd distill method=dm dataset=folder data.root=~/flowers dataset.size=64 network.depth=4 ipc=5
    cmidd distill +sweep=table1 dry_run=true                 # the runs of the whole table, and how long they take
"""

import contextlib
import statistics

from hydra.core.hydra_config import HydraConfig

from cmidd.cli import journal
from cmidd.cli.admission import Admission, own_words
from cmidd.cli.dry_run import show_run
from cmidd.cli.sweep_runs import Composer, runs_of
from cmidd.runs.run import run
from cmidd.runs.settings import Settings
from cmidd.runs.shared import make_shared, parts_of
from cmidd.utils.errors import SettingError


def main(settings: Settings, admission: Admission) -> float | journal.Made | None:
    """Distil; returns the mean accuracy of the last iterate, which Optuna's sweeps maximise, or None for a dry run, or
    what was made with ``prepare``.
    """
    if settings.dry_run:
        show_run(settings)
        return None
    if settings.prepare:
        return _prepare(settings, own_words(admission.chosen.words))
    return statistics.fmean(run(settings, admission).last["accuracies"])


def _prepare(settings: Settings, words: list[str]) -> journal.Made:
    """Make what the run of these words shares with others, and in a sweep what all its runs share: all that no other
    process is at work on.
    """
    parts_of(settings)  # Which refuses what the run would refuse.
    own = journal.journal
    if own is None:
        made = make_shared([settings])
        print("\n".join([*journal.made_ahead([made]), f"next: {journal.after_preparing(words)}"]))
        return made
    if own.prepared.exists():
        return {}
    runs, composer, first = runs_of(own.words, "prepare=true"), Composer(), HydraConfig.get().job.num
    all_settings = [settings]
    for others in [*runs[first + 1 :], *runs[:first]]:
        with contextlib.suppress(SettingError):  # Whose own turn it is to say so.
            all_settings.append(composer(others))
    made = make_shared(all_settings)
    own.prepared.touch()
    return made
