"""One cell of a table: ours beside what was published, and what was found for it and does not stand in it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cmidd.analysis.cells import Cell, Measured, NotShown
from cmidd.runs.identity import setting_of
from cmidd.utils.noise import within_spreads


@dataclass(frozen=True)
class Entry:
    """One cell of the table; ``within`` tells whether we are within two joint standard deviations, ``others`` are runs
    of other strengths of CMI than those of ``ours``.
    """

    ours: Measured | None
    published: tuple[float, float | None] | None
    command: str | None
    others: tuple[NotShown, ...] = ()

    @property
    def difference(self) -> float | None:
        if self.ours is None or self.published is None:
            return None
        return self.ours.mean - self.published[0]

    @property
    def within(self) -> bool | None:
        if self.difference is None or self.published is None or self.published[1] is None or self.ours is None:
            return None
        alike = within_spreads(self.difference, self.ours.spread, self.published[1])
        # A single network has no spread: what is further than the published one alone may yet be within both.
        return alike if alike or len(self.ours.accuracies) > 1 else None

    @property
    def not_shown(self) -> tuple[NotShown, ...]:
        """What was found for it and does not stand in it."""
        return (*(self.ours.others if self.ours else ()), *self.others)


def of_other_strengths(cells: Mapping[str, Cell], shown: str) -> tuple[NotShown, ...]:
    """Of cells by their strength of CMI those that are not of the one that is shown, which is that of the recipe."""
    of_recipe = f" where the recipe has {_setting(shown)}" if shown else ""
    found = []
    for strength, cell in cells.items():
        if strength != shown:
            first = NotShown(cell.results, f"{_setting(strength)}{of_recipe}")
            found += [first, *(replace(other, why=f"{first.why}, {other.why}") for other in cell.others)]
    return tuple(found)


def _setting(strength: str) -> str:
    """A :func:`cmidd.runs.identity.strength` of CMI as a user types it."""
    return "cmi.{}={}".format(*setting_of(strength))
