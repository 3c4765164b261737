"""The table in the paper's layout, in LaTeX."""

from collections.abc import Sequence
from itertools import groupby

from cmidd.analysis.tables.entry import Entry
from cmidd.analysis.tables.table import NOT_SHOWN, Column, Row, Table
from cmidd.data.published import title_of
from cmidd.utils.noise import RULE


def latex(table: Table) -> str:
    """The paper's layout with booktabs: the best of ours and of the published in bold, and what CMI adds."""
    datasets = groupby(table.columns, key=lambda column: column.dataset)
    together = [(_escaped(title_of(name)), len([*columns])) for name, columns in datasets]
    lines = [
        "% accuracy in per cent; \\approx: within two joint standard deviations of the paper",
        f"% (noise): {RULE}",
        *([f"% teachers of CMI: {' '.join(table.teachers.split())}"] if table.teachers else []),
        "\\begin{tabular}{l" + "".join(" " + "c" * count for _, count in together) + "}",
        "\\toprule",
        " & ".join(["", *(f"\\multicolumn{{{count}}}{{c}}{{{title}}}" for title, count in together)]) + r" \\",
    ]
    first = 2
    for _, count in together:
        lines.append(f"\\cmidrule(lr){{{first}-{first + count - 1}}}")
        first += count
    lines.append(" & ".join(["IPC", *(str(column.ipc) for column in table.columns)]) + r" \\")
    best = {column: _best(table, column) for column in table.columns}
    for before, row in zip((None, *table.rows), table.rows, strict=False):
        if before is None or before.group != row.group:
            lines.append("\\midrule")
        name, ours, paper = _escaped(row.name), [], []
        for column in table.columns:
            entry = table.entry(row, column)
            ours.append(_latex_ours(table, entry, best[column][0]))
            published = entry.published
            paper.append("--" if published is None else _latex_value(*published, published[0] == best[column][1]))
        built = row.method is not None or row.baseline is not None
        if built:
            lines.append(" & ".join([name, *ours]) + r" \\")
        if any(value is not None for value in row.published):
            title = r"\quad published" if built else f"{name} (published)"
            lines.append(" & ".join([title, *paper]) + r" \\")
        if row.with_cmi:
            texts = [_gain(table, row, column) for column in table.columns]
            lines.append(" & ".join([r"\quad difference", *texts]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", *_footnotes(table), "\\end{tabular}"]) + "\n"


def _footnotes(table: Table) -> list[str]:
    """Lines below the table: what its marks mean, and what is not shown."""
    marked = [f"$^{{{number}}}$ {_escaped(text)}" for number, text in enumerate(table.notes, 1)]
    others = [NOT_SHOWN + ":", *table.not_shown] if table.not_shown else []
    across = f"\\multicolumn{{{len(table.columns) + 1}}}{{p{{\\linewidth}}}}"
    return [f"{across}{{\\footnotesize {text}}} \\\\" for text in [*marked, *map(_escaped, others)]]


def _gain(table: Table, row: Row, column: Column) -> str:
    """What CMI adds, with ``(noise)`` where it may well be chance."""
    if (gain := table.gain(row, column)) is None:
        return "--"
    noise = " (noise)" if gain.inside_noise else ""
    return f"${gain.value:+.1f}{_marks(table, table.gain_notes(row, column))}${noise}"


def _latex_ours(table: Table, entry: Entry, best: float | None) -> str:
    if entry.ours is None:
        return "--"
    mark = (r"\,{\approx}" if entry.within else "") + _marks(table, entry.ours.notes)
    value = _latex_value(round(entry.ours.mean, 1), round(entry.ours.spread, 1), entry.ours.mean == best)
    return value[:-1] + mark + "$" if mark else value


def _marks(table: Table, notes: Sequence[str]) -> str:
    numbers = ",".join(map(str, table.marks(notes)))
    return f"^{{{numbers}}}" if numbers else ""


def _latex_value(mean: float, spread: float | None, bold: bool) -> str:
    text = f"\\mathbf{{{mean}}}" if bold else f"{mean}"
    return f"${text}$" if spread is None else f"${text}_{{\\pm {spread}}}$"


def _best(table: Table, column: Column) -> tuple[float | None, float | None]:
    """The best of ours, among runs that keep to their recipe, and the best published."""
    entries = [table.entry(row, column) for row in table.rows if not row.bound]
    ours = [entry.ours.mean for entry in entries if entry.ours and not entry.ours.changed]
    published = [entry.published[0] for entry in entries if entry.published]
    return max(ours, default=None), max(published, default=None)


def _escaped(text: str) -> str:
    """Text that LaTeX does not take for commands."""
    signs = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " "}
    return "".join(signs.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)
