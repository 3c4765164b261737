"""The table as text: Markdown and CSV, and the command for every missing cell."""

import csv
import io
from typing import Any

from cmidd.analysis.cells import BaselineCell, Cell
from cmidd.analysis.tables.entry import Entry
from cmidd.analysis.tables.table import NOT_SHOWN, Column, Row, Table
from cmidd.data.published import title_of
from cmidd.utils.noise import RULE
from cmidd.utils.text import escape_markdown, table_row


def header(table: Table) -> list[str]:
    """The titles of the columns; the first names the system."""
    return ["", *(f"{title_of(column.dataset)} {column.ipc}" for column in table.columns)]


def lines_of(table: Table) -> list[list[list[str]]]:
    """The table as texts: lines of cells, each with ours first and the paper's below."""
    return [line for row in table.rows for line in lines_of_row(table, row)]


def lines_of_row(table: Table, row: Row) -> list[list[list[str]]]:
    """The line of a row, and where it has CMI, one of what that adds."""
    lines = [[[row.name], *(_texts(table, table.entry(row, column)) for column in table.columns)]]
    if row.with_cmi and row.system:
        lines.append([[f"CMI adds to {row.system.upper()}"], *(_gain(table, row, each) for each in table.columns)])
    return lines


def _gain(table: Table, row: Row, column: Column) -> list[str]:
    """What CMI adds, ours first and the paper's below."""
    ours, paper = table.gain(row, column), table.published_gain(row, column)
    noise = f", inside the noise of {ours.over}" if ours and ours.inside_noise else ""
    marks = "".join(f" [{number}]" for number in table.marks(table.gain_notes(row, column)))
    return [
        _signed(ours.value if ours else None) + noise + marks,
        *([f"paper {_signed(paper)}"] if paper is not None else []),
    ]


def _texts(table: Table, entry: Entry) -> list[str]:
    ours = "-"
    if entry.ours:
        ours = " ".join([entry.ours.text, *(f"[{number}]" for number in table.marks(entry.ours.notes))])
    apart = [entry.ours.apart] if entry.ours and entry.ours.apart else []
    if entry.published is None:
        return [ours, *apart]
    mean, spread = entry.published
    text = f"paper {mean}" + ("" if spread is None else f" ± {spread}")
    if entry.difference is not None:
        text += f", {_signed(entry.difference)}" + (" ≈" if entry.within else "")
    return [ours, text, *apart]


def markdown(table: Table) -> str:
    """The table, what the marks mean, and the commands for the missing cells."""
    lines = [table_row(header(table)), "| --- |" + " ---: |" * len(table.columns)]
    for (name,), *texts in lines_of(table):
        lines.append(table_row([escape_markdown(name), *("<br>".join(text) for text in texts)]))
    lines += [
        "",
        "Accuracy on the test set, per cent: ours, mean ± standard deviation over n trained networks of the last "
        "iterate, after their last epoch, all on one set where no spread between sets is named; below it the published "
        "figure and our difference to it. ≈: within two joint standard deviations. -: not run, or not published. The "
        "code of IDC and DREAM reports the best of several tests within a training, which is picked on the test set "
        "and not kept here.",
    ]
    shown = [(row, column) for row in table.rows for column in table.columns if table.entry(row, column).ours]
    if any(table.gain(row, column) for row, column in shown):
        lines[-1] += f" Of what CMI adds: {RULE}; of networks, where there is one set."
    if table.teachers:
        lines[-1] += f" Teachers of CMI: {escape_markdown(table.teachers)}."
    lines += [f"\n[{number}]: {escape_markdown(text)}" for number, text in enumerate(table.notes, 1)]
    if table.not_shown:
        lines += [f"\n{NOT_SHOWN}:\n", *(f"- {escape_markdown(line)}" for line in table.not_shown)]
    if any("schedule" in row.added for row, _ in shown):
        lines.append("\nWhere a set has stages (PDD, SeqMatch), the networks are trained through them, for more steps.")
    commands = list(dict.fromkeys(entry.command for entry in table.entries.values() if entry.command))
    if commands:
        lines += ["", f"The {len(commands)} missing cells:", "", "```bash", *commands, "```"]
    return "\n".join(lines) + "\n"


CSV_HEADER = [
    *("system", "dataset", "ipc", "mean", "spread", "n", "seeds", "cmi_weight", "cmi_ratio", "published_mean"),
    *(
        "published_spread",
        "difference",
        "within_two_joint_sd",
        "differs_from_recipe",
        "not_shown",
        "command_if_missing",
    ),
    *("sets", "spread_between_sets", "spread_between_networks"),
    *("cmi_adds", "cmi_adds_standard_error", "cmi_adds_inside_noise"),
    "differs_in_more_than_cmi",
]


def as_csv(table: Table) -> str:
    """One line per cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_HEADER)
    for row in table.rows:
        for column in table.columns:
            entry = table.entry(row, column)
            ours: list[Any] = [None] * 6
            if isinstance(entry.ours, BaselineCell):
                ours[:3] = [entry.ours.mean, entry.ours.spread, len(entry.ours.accuracies)]
            if isinstance(entry.ours, Cell):
                seeds = " ".join(str(result.seed) for result in entry.ours.results)
                ours = [entry.ours.mean, entry.ours.spread, len(entry.ours.accuracies), seeds]
                ours += [entry.ours.results[0].settings["cmi"].get(name) for name in ("weight", "ratio")]
            changed = entry.ours.of_recipe if entry.ours else ""
            others = "; ".join(other.line for other in entry.not_shown)
            published = entry.published or (None, None)
            rest = [entry.difference, entry.within, changed or None, others or None, entry.command]
            rest += [None] * 3
            if entry.ours:
                sample = entry.ours.sample
                rest[-3:] = [len(sample.sets), sample.between_sets, sample.between_networks]
            gain = table.gain(row, column)
            error = gain.noise.standard_error if gain and gain.noise else None
            rest += [gain.value, error, gain.inside_noise, table.unlike(row, column)] if gain else [None] * 4
            writer.writerow([row.name, column.dataset, column.ipc, *ours, *published, *rest])
    return text.getvalue()


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"
