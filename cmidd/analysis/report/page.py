"""One HTML page of all runs, with nothing outside it: headlines, charts, the table, and a card for each run."""

import importlib.resources
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from cmidd.analysis.grouping import cells
from cmidd.analysis.report.runs import cards
from cmidd.analysis.report.story import story
from cmidd.analysis.report.table import as_data, only_run
from cmidd.analysis.results import Result
from cmidd.analysis.tables.table import DEFAULT_ROOT, Table, root_word
from cmidd.utils.text import command_line

PARTS = {  # What stands for it in page.html, and the file that becomes part of the page.
    "style": "page.css",
    "d3": "vendored/d3.min.js",
    "plot": "vendored/plot.umd.min.js",
    "elements": "elements.js",
    "charts": "charts.js",
    "cards": "cards.js",
    "script": "page.js",
}


def page(
    table: Table,
    results: Sequence[Result],
    missing: bool = False,
    folder: Path | None = None,
    results_root: str = DEFAULT_ROOT,
) -> str:
    """The page as text; whatever a record says appears in it as text only.

    Args:
        missing: whether the table also shows the cells that nobody ran, and their commands.
        folder: where the page will lie: pictures below it are linked to in full.
        results_root: where the run goes that an empty page proposes.
    """
    data = {
        "story": story(table, results, cells(results)),
        "date": date.today().isoformat(),
        "tables": [as_data(each) for each in ([table] if missing else only_run(table))],
        "missing": missing,
        **cards(results, folder),
        "first": f"{command_line('distill')} method=dm dataset=digits{root_word(results_root)}",
    }
    # In a script element only "<" could end the data; JSON may spell it as an escape.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    parts = {"data": text, **{part: _file(name) for part, name in PARTS.items()}}
    pieces = _file("page.html").replace("}}", "{{").split("{{")  # Alternately its text and the name of a part.
    return "".join(parts.get(piece, piece) for piece in pieces)


def _file(name: str) -> str:
    return importlib.resources.files("cmidd.analysis.report").joinpath(name).read_text(encoding="utf-8")
