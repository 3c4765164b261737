"""The paper's table with our figures beside."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from cmidd.analysis.cells import (
    MOST_NAMED,
    BaselineCell,
    BaselineKey,
    Cell,
    Key,
    Measured,
    NotShown,
    in_words,
    more_than_cmi,
    of_shared_seeds,
)
from cmidd.analysis.comparison import Difference, difference
from cmidd.analysis.tables.entry import Entry, of_other_strengths
from cmidd.data.published import title_of
from cmidd.evaluation.protocols import Kind
from cmidd.runs.identity import BASELINE, system
from cmidd.utils.checking import checked
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Count, Name
from cmidd.utils.text import command_line

DEFAULT_ROOT = "results"  # of configs/distill.yaml
NOT_SHOWN = "Not shown, as a cell does not mix runs that differ in more than their seeds"


@dataclass(frozen=True)
class Column:
    dataset: Name
    ipc: Count


@dataclass(frozen=True)
class Row:
    """A system. ``method`` is None for one that is not built here; ``published`` has ``(mean, spread)`` a column.

    ``bound`` marks what is no distilled set and so never the best, ``baseline`` says what it is: the ``whole`` data
    set, or real images that are chosen so (``random``), evaluated as ``method`` does. ``added`` are the plug-ins, as
    distill.py takes them: ``{"schedule": "pdd"}``.
    """

    name: str
    group: str
    method: str | None
    with_cmi: bool
    published: tuple[tuple[float, float | None] | None, ...]
    bound: bool = False
    added: dict[str, str | list[str]] = field(default_factory=dict, hash=False)
    baseline: Kind | None = None

    @property
    def system(self) -> str | None:
        """What :attr:`cmidd.analysis.results.Result.system` is for runs of this row."""
        if self.baseline:
            return None
        names = {kind: {"name": name} for kind, name in self.added.items()}
        regularizers: dict[str, Any] = {name: {} for name in self.added.get("regularizer", [])}
        return self.method and system({"method": {"name": self.method}, "regularizers": regularizers, **names})

    @property
    def command(self) -> str:
        """The start of the line that makes a cell of this row."""
        words = [
            f"{kind}={name}" if isinstance(name, str) else f"{kind}=[{','.join(name)}]"
            for kind, name in self.added.items()
        ]
        if self.baseline:
            protocol = [f"method={self.method}"] if self.method else []
            return " ".join([command_line("baselines"), *protocol, f"'evaluation.baselines=[{self.baseline}]'"])
        return " ".join([command_line("distill"), f"method={self.method}", *map(shlex.quote, words)])


@dataclass(frozen=True)
class RowLayout:
    """A row as ``configs/command/table/<name>.yaml`` has it."""

    method: Name | None = None
    cmi: bool = False
    published: list[tuple[float, float | None] | None] | None = None
    bound: bool = False
    baseline: Kind | None = None
    regularizer: list[Name] | None = None
    sampler: Name | None = None
    schedule: Name | None = None


@dataclass(frozen=True)
class Layout:
    columns: Annotated[list[Column], Field(min_length=1)]
    groups: dict[str, dict[str, RowLayout]]


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    entries: dict[tuple[Row, Column], Entry]

    def entry(self, row: Row, column: Column) -> Entry:
        return self.entries[row, column]

    def gain(self, row: Row, column: Column) -> Difference | None:
        """What CMI adds to the row's method in this column, over the seeds of both; None where one is not there."""
        cells = self._cells(row, column)
        return cells and difference(*(cell.sample for cell in of_shared_seeds(*cells)))

    def published_gain(self, row: Row, column: Column) -> float | None:
        """What it adds by the published figures."""
        one, other = (entry and entry.published for entry in self._pair(row, column))
        return other[0] - one[0] if one and other else None

    def unlike(self, row: Row, column: Column) -> str:
        """What is said of our :meth:`gain` where it may come of more than CMI; nothing where it does not."""
        cells = self._cells(row, column)
        found = more_than_cmi(*cells) if cells else {}
        return f"they differ in more than CMI: {in_words(found, MOST_NAMED)}" if found else ""

    def gain_notes(self, row: Row, column: Column) -> list[str]:
        """What the marks at our :meth:`gain` say."""
        cells = self._cells(row, column)
        shared = of_shared_seeds(*cells) if cells else None
        seeds = ", ".join(str(result.seed) for result in shared[0].results) if shared and shared != cells else ""
        over = f"what CMI adds is over the seeds that both have: {seeds}" if seeds else ""
        return [*filter(None, [self.unlike(row, column), over])]

    def _cells(self, row: Row, column: Column) -> tuple[Cell, Cell] | None:
        one, other = (entry and entry.ours for entry in self._pair(row, column))
        return (one, other) if isinstance(one, Cell) and isinstance(other, Cell) else None

    def _pair(self, row: Row, column: Column) -> tuple[Entry | None, Entry]:
        """The entry of a row with CMI, after that of its method without."""
        without = [other for other in self.rows if other.system == row.system and not other.with_cmi]
        base = self.entry(without[0], column) if row.with_cmi and without else None
        return base, self.entry(row, column)

    @cached_property
    def notes(self) -> list[str]:
        """What is said of cells and of what CMI adds, each text once; their marks are the numbers of their texts."""
        found: list[str] = []
        for row in self.rows:
            ours = [self.entry(row, column).ours for column in self.columns]
            found += [note for each in ours if each for note in each.notes]
            found += [note for column in self.columns for note in self.gain_notes(row, column)]
        return list(dict.fromkeys(found))

    def marks(self, notes: Sequence[str]) -> list[int]:
        """The numbers of some notes; none of an empty one."""
        return [self.notes.index(note) + 1 for note in notes if note]

    @property
    def not_shown(self) -> list[str]:
        """What was found for cells and differs from what they show, a line each."""
        found: dict[str, str] = {}
        for (row, column), entry in self.entries.items():
            for other in entry.not_shown:
                found.setdefault(other.line, f"{row.name}, {title_of(column.dataset)} {column.ipc}: {other.line}")
        return list(found.values())

    @property
    def teachers(self) -> str | None:
        """With which teachers our cells with CMI were made; where they differ, each with its cells."""
        found: dict[str, list[str]] = {}
        for (row, column), entry in self.entries.items():
            if entry.ours and entry.ours.teachers:
                cell = f"{row.name}, {title_of(column.dataset)} {column.ipc}"
                found.setdefault(entry.ours.teachers, []).append(cell)
        if len(found) > 1:
            return "; ".join(f"{teachers} ({'; '.join(cells)})" for teachers, cells in found.items())
        return next(iter(found), None)


def read_layout(layout: Mapping[str, Any]) -> tuple[tuple[Column, ...], tuple[Row, ...]]:
    """Columns and rows of ``configs/command/table/<name>.yaml``."""
    given = checked(Layout, layout, "table")
    columns = tuple(given["columns"])
    rows = []
    for group, members in given["groups"].items():
        for name, row in members.items():
            values = row.published or [None] * len(columns)
            if len(values) != len(columns):
                raise SettingError(
                    f"table.groups.{group}.{name}.published: has {len(values)} values for {len(columns)} columns; give "
                    "as many, null for what is not published"
                )
            kinds = {"regularizer": row.regularizer, "sampler": row.sampler, "schedule": row.schedule}
            added = {kind: value for kind, value in kinds.items() if value}
            if row.baseline not in (None, "whole") and row.method is None:
                raise SettingError(f"table.groups.{group}.{name}.method: missing; give the method that evaluates so")
            bound = row.bound or row.baseline is not None
            rows.append(Row(name, group, row.method, row.cmi, tuple(values), bound, added, row.baseline))
    return columns, tuple(rows)


def make_table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    found: Mapping[Key, Cell],
    recipe_strength: Callable[[str, str, int], str],
    baselines: Mapping[BaselineKey, BaselineCell] = MappingProxyType({}),
    results_root: str = DEFAULT_ROOT,
) -> Table:
    """Put our cells beside the published ones.

    Args:
        recipe_strength: the weight or ratio of CMI that the sweeps use for a method, data set and ipc; asked only
            where runs of several are there.
        baselines: those that were measured alone, for rows that are one.
        results_root: where the runs of missing cells are to go.
    """
    entries = {}
    for row in rows:
        for column, published in zip(columns, row.published, strict=True):
            ours: Measured | None = None
            others: tuple[NotShown, ...] = ()
            command = None
            if row.baseline is not None:
                whole = row.baseline == "whole"
                own = (None, column.dataset, None) if whole else (row.method, column.dataset, column.ipc)
                ours = baselines.get((row.baseline, *own))
                if ours is None:
                    command = f"{row.command} dataset={column.dataset}" + ("" if whole else f" ipc={column.ipc}")
            elif row.method is not None and row.system is not None:
                words = (row.system, column.dataset, column.ipc)
                here = {
                    k[3]: cell for k, cell in found.items() if k[:3] == words and (k[3] != BASELINE) == row.with_cmi
                }
                which = recipe_strength(row.method, *words[1:]) if len(here) > 1 else next(iter(here), "")
                ours, others = here.get(which), of_other_strengths(here, which)
                if ours is None:
                    command = f"{row.command} dataset={column.dataset} ipc={column.ipc}"
                    command += " cmi=recipe" if row.with_cmi else ""
            entries[row, column] = Entry(ours, published, command and command + root_word(results_root), others)
    return Table(tuple(columns), tuple(rows), entries)


def root_word(results_root: str) -> str:
    """What a command says of where its results go, as a shell takes it; nothing where that is the default."""
    return "" if results_root == DEFAULT_ROOT else f" {shlex.quote(f'results_root={results_root}')}"
