"""``prepare=true``: what runs share is made ahead of them, by all processes of a sweep together."""

import contextlib
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from cmidd.cli import journal
from cmidd.cli.journal import Made
from cmidd.cli.sweep_runs import Composer, runs_of
from cmidd.utils.errors import SettingError

if TYPE_CHECKING:
    from cmidd.runs.settings import Settings


def prepare(settings: "Settings", words: list[str]) -> Made:
    """Make what the run shares with others, and in a sweep what all its runs share: all that no other process is at
    work on.

    Args:
        words: of the run.

    Returns:
        Of each kind how many files are needed, and how many this process made.

    Raises:
        SettingError: when the run would be refused, or something could not be made.
    """
    from cmidd.runs.shared import make_shared, parts_of

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
