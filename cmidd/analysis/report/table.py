"""The table of the page: the paper's layout with what was found beside it, and without what nobody ran."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cmidd.analysis.cells import BaselineCell, BaselineKey, Cell, Key
from cmidd.analysis.tables.table import NOT_SHOWN, Column, Row, Table
from cmidd.analysis.tables.text import header, lines_of_row
from cmidd.runs.identity import BASELINE, BY_ITSELF


def with_found(
    columns: Sequence[Column],
    rows: Sequence[Row],
    found: Mapping[Key, Cell],
    baselines: Mapping[BaselineKey, BaselineCell],
) -> tuple[tuple[Column, ...], tuple[Row, ...]]:
    """A layout, and after its own columns and rows one for everything that was found and has no place in it."""
    places = [(dataset, ipc) for _, dataset, ipc, _ in found]
    places += [(dataset, ipc) for _, _, dataset, ipc in baselines if ipc is not None]
    known = {(column.dataset, column.ipc) for column in columns}
    more = [Column(*place) for place in sorted(set(places) - known)]
    wider = [replace(row, published=(*row.published, *[None] * len(more))) for row in rows]
    nothing = (None,) * (len(columns) + len(more))
    for row in (*_systems(found, nothing), *_baselines(baselines, nothing)):
        same = (row.system, row.with_cmi, row.baseline, row.method)
        if all((other.system, other.with_cmi, other.baseline, other.method) != same for other in wider):
            wider.append(row)
    return (*columns, *more), tuple(wider)


def _systems(found: Mapping[Key, Cell], published: tuple[None, ...]) -> Iterable[Row]:
    for system, _, _, strength in sorted(found):
        cell = next(cell for key, cell in found.items() if key[0] == system)
        settings, with_cmi = cell.results[0].settings, strength != BASELINE
        added: dict[str, str | list[str]] = {
            kind: settings[kind]["name"]
            for kind, by_itself in BY_ITSELF.items()
            if settings.get(kind, {}).get("name", by_itself) != by_itself
        }
        if settings.get("regularizers"):
            added["regularizer"] = sorted(settings["regularizers"])
        name = system.upper() + ("+CMI" if with_cmi else "")
        yield Row(name, "found", settings["method"]["name"], with_cmi, published, added=added)


def _baselines(baselines: Mapping[BaselineKey, BaselineCell], published: tuple[None, ...]) -> Iterable[Row]:
    for kind, method in dict.fromkeys(key[:2] for key in baselines):
        name = kind.capitalize() + (f", as {method.upper()} evaluates" if method else " data set")
        yield Row(name, "found", method, False, published, bound=True, baseline=kind)  # type: ignore[arg-type]


def only_run(table: Table) -> list[Table]:
    """A table for each data set, of the columns and rows for which something of ours was found: in one for all, a
    method that was run on one data set would have nothing but dashes for the others.
    """
    tables = []
    for dataset in dict.fromkeys(column.dataset for column in table.columns):
        found = {key for key, entry in table.entries.items() if entry.ours or entry.others}
        there = {key for key in found if key[1].dataset == dataset}
        columns = tuple(column for column in table.columns if any(key[1] == column for key in there))
        rows = tuple(row for row in table.rows if any(key[0] == row for key in there))
        entries = {(row, column): table.entry(row, column) for row in rows for column in columns}
        tables.append(Table(columns, rows, entries))
    return sorted((table for table in tables if table.rows), key=lambda table: len(table.rows))


def as_data(table: Table) -> dict[str, Any]:
    """A table as the page reads it: of every cell its texts, and the number that a column is sorted by."""
    commands = dict.fromkeys(entry.command for entry in table.entries.values() if entry.command)
    marked = [f"[{number}] {text}." for number, text in enumerate(table.notes, 1)]
    return {
        "dataset": table.columns[0].dataset if len({column.dataset for column in table.columns}) == 1 else None,
        "head": header(table),
        "rows": [_row(table, row) for row in table.rows],
        "notes": " ".join([*marked, *([f"Teachers of CMI: {table.teachers}."] if table.teachers else [])]),
        "not_shown": [f"{NOT_SHOWN}:", *table.not_shown] if table.not_shown else [],
        "commands": list(commands),
    }


def _row(table: Table, row: Row) -> dict[str, Any]:
    ours = [table.entry(row, column).ours for column in table.columns]
    return {"lines": lines_of_row(table, row), "values": [None if each is None else each.mean for each in ours]}
