"""One HTML page of all runs, with nothing outside it: the table, curves, images, and the command of each run."""

import base64
import importlib.resources
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmidd.analysis.measured import Cell
from cmidd.analysis.results import Result
from cmidd.analysis.table import NOT_SHOWN, Table
from cmidd.analysis.table_text import header, lines_of
from cmidd.runs.identity import BASELINE
from cmidd.utils import files
from cmidd.utils.text import duration, summary

Points = list[tuple[float, float, float]]


def page(table: Table, results: Sequence[Result]) -> str:
    """The page as text; whatever a record says appears in it as text only."""
    data = {
        "table": {
            "head": header(table),
            "rows": lines_of(table),
            "notes": " ".join(
                [
                    *(f"[{number}] {text}." for number, text in enumerate(table.notes, 1)),
                    *([f"Teachers of CMI: {table.teachers}."] if table.teachers else []),
                ]
            ),
            "not_shown": [f"{NOT_SHOWN}:", *table.not_shown] if table.not_shown else [],
        },
        "runs": [_run(result) for result in results],
    }
    # In a script element only "<" could end the data; JSON may spell it as an escape.
    text = json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    template = importlib.resources.files("cmidd.analysis").joinpath("report.html").read_text(encoding="utf-8")
    return template.replace("{{data}}", text)


def _run(result: Result) -> dict[str, Any]:
    record = result.record
    cmi = f" + CMI {result.strength}" if result.strength != BASELINE else ""
    cost = [  # as far as earlier versions recorded it
        *([] if record.seconds is None else [f"{duration(record.seconds)} for {record.last['iteration']} iterations"]),
        *([] if record.peak_memory_mib is None else [f"{record.peak_memory_mib:.0f} MiB at most"]),
        *([] if record.device is None else [record.device]),
    ]
    baselines = [f"{kind}: {summary(values)}" for kind, values in (record.baselines or {}).items()]
    evaluated = [
        (float(at), statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
        for at, values in sorted(result.evaluations.items(), key=lambda item: int(item[0]))
    ]
    curves = [("test accuracy, per cent", evaluated if len(evaluated) > 1 else [])]
    metrics = _metrics(result.path.with_name("metrics.jsonl"))
    curves += [(title, metrics.get(name, [])) for name, title in (("loss", "loss"), ("cmi", "CMI, nats"))]
    return {
        "method": result.system,
        "dataset": result.dataset,
        "ipc": result.ipc,
        "title": f"{result.system.upper()}{cmi}, {result.dataset}, {result.ipc} images per class, seed {result.seed}",
        "accuracy": f"test accuracy {summary(result.accuracies)} per cent",
        "facts": [*baselines, *([", ".join(cost)] if cost else [])],
        "changed": Cell((result,)).of_recipe,
        "curves": [{"title": title, "points": _thinned(points)} for title, points in curves if points],
        "command": record.command or "",
        "image": _image(result.path),
    }


def _metrics(path: Path) -> dict[str, Points]:
    rows = files.read_rows(path) if path.exists() else []
    names = {name for row in rows for name in row} - {"iteration"}
    return {name: [(row["iteration"], row[name], 0.0) for row in rows if name in row] for name in names}


def _thinned(points: Points, most: int = 200) -> Points:
    step = -(-len(points) // most)
    return points[::-step][::-1] if points else points


def _image(path: Path) -> str | None:
    """The picture beside a record: of a run, or of a record that is kept as evidence."""
    for picture in (path.with_name("synthetic.png"), path.with_name(path.name.replace("result.json", "png"))):
        if picture.exists():
            return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    return None
