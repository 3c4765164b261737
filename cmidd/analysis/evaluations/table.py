"""What an evaluation found: its table, and the record with every number."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmidd.analysis.evaluations.protocol import Asked
from cmidd.analysis.evaluations.settings import EvaluationSettings
from cmidd.compute.recipe import stated
from cmidd.data.dataset import Dataset
from cmidd.evaluation.class_order import Permuted
from cmidd.evaluation.score_terms import ipc_of
from cmidd.evaluation.scores import ABOUT, SCORES, Scores
from cmidd.evaluation.selection import Tests
from cmidd.evaluation.train_on_set import TrainingStage, training_steps
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from cmidd.utils.provenance import provenance
from cmidd.utils.text import escape_markdown, summary, table_row

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Row:
    """What several networks of one kind are worth that were trained on a set; ``moved``: the order of classes that they
    found, where it seems another; ``scores`` where they are asked for.
    """

    title: str
    tests: list[Tests]
    moved: Permuted | None
    scores: Scores | None = None

    @property
    def accuracies(self) -> list[float]:
        """Of each network what counts, in per cent."""
        return [each.figure for each in self.tests]

    @property
    def best(self) -> list[float]:
        """Of each network its best test."""
        return [each.best for each in self.tests]


@dataclass(frozen=True)
class MeasuredSet:
    """A set, how networks were trained on it (``stages``), a row for each kind of them, and what taught them, if
    anything did.
    """

    asked: Asked
    stages: Sequence[TrainingStage]
    rows: list[Row]
    teacher: dict[str, Any] | None = None

    @property
    def accuracies(self) -> dict[str, list[float]]:
        """By network what counts of each, in per cent."""
        return {row.title: row.accuracies for row in self.rows}

    def record(self) -> dict[str, Any]:
        """What the JSON file says of the set."""
        subject, protocol = self.asked.subject, self.asked.protocol
        found: dict[str, Any] = {"accuracies": self.accuracies, "tested_on": subject.data.held_out}
        if protocol.tests > 1:
            found["tests"] = {row.title: [each.tested for each in row.tests] for row in self.rows}
            found["best_of_tests_picked_on_the_test_set"] = {row.title: row.best for row in self.rows}
        if self.teacher is not None:
            found["teacher"] = self.teacher
        if protocol.selection == "held_out":
            found["held_out"] = {row.title: [each.held_out for each in row.tests] for row in self.rows}
        if scored := {row.title: row.scores.record(row.title) for row in self.rows if row.scores is not None}:
            found["scores"] = scored
        return {
            **found,
            "dataset": subject.data.name,
            "ipc": ipc_of(subject),
            "labels_mapped_by_name": subject.reordered,
            "classes_seem_permuted": {
                row.title: row.moved.record(subject.data.classes) for row in self.rows if row.moved is not None
            },
            "evaluation": {"repeats": protocol.repeats, "tests": protocol.tests, "selection": protocol.selection},
            "network": subject.network,
            "training": stated(self.stages[-1][1]),
            "stages": len(self.stages),
            "training_steps": training_steps(self.stages),
            "images": len(subject.synthetic.decode()),
            "synthetic": subject.synthetic.about,
        }

    def said(self) -> list[str]:
        """What is to be known beside the numbers."""
        data = self.asked.subject.data
        mapped = [of_reordered(data)] if self.asked.subject.reordered else []
        gains = [row.scores.sentence(row.title) for row in self.rows if row.scores is not None]
        return [*gains, *mapped, *(f"{row.title}: {row.moved.said(data.classes)}" for row in self.rows if row.moved)]


def of_reordered(data: Dataset) -> str:
    """What is said of a set whose labels were mapped."""
    return f"the set counts the classes in another order than {data.name}: its labels are mapped by their names"


def places_of_tables(own: EvaluationSettings, places: Sequence[Path]) -> list[Path]:
    """The JSON and the Markdown file: beside the first set under a new number, or as ``to`` names them.

    Raises:
        SettingError: when there is such a file.
    """
    if own.to is None:
        first = places[0]
        return files.unused(
            first.with_name(f"{first.name if first.is_dir() else first.stem}.evaluation"), ("json", "md")
        )
    named = [Path(f"{own.to}.{suffix}") for suffix in ("json", "md")]
    for path in named:
        if path.exists():
            raise SettingError(f"to={own.to}: {path} is there already; give another, or move it away")
    return named


def write_tables(own: EvaluationSettings, measured: Sequence[MeasuredSet], places: list[Path]) -> list[Path]:
    """Log the table and write it; returns the paths of the record and of the table."""
    lines = table(measured)
    log.info("\n".join(lines))
    settings = {
        **asdict(own),
        "seed": measured[0].asked.settings.seed,
        "data": asdict(measured[0].asked.settings.data),
    }
    about = {"settings": settings, **provenance(measured[0].asked.subject.data.device)}
    if len(measured) == 1:
        record = {**measured[0].record(), **about}
    else:
        record = {"sets": {each.asked.path: each.record() for each in measured}, **about}
    files.write_json(places[0], record)
    files.write_text(places[1], "\n".join(lines) + "\n")
    return places


def table(measured: Sequence[MeasuredSet]) -> list[str]:
    """The lines of the Markdown table: of one set a row for each network, of several for each set and network."""
    several, tests = len(measured) > 1, max(each.asked.protocol.tests for each in measured)
    head = [*(["set", "data set"] if several else []), "network", "accuracy"]
    tested_on = _tested_on(measured)
    head += [f"best of {tests} tests, picked on the {'/'.join(tested_on)} set"] if tests > 1 else []
    real = sorted({row.scores.real for each in measured for row in each.rows if row.scores is not None})
    head += SCORES if real else []
    lines = [_title(measured), "", table_row(head), f"|{' --- |' * len(head)}"]
    for each in measured:
        data = each.asked.subject.data
        shown = f"{data.name}, {data.held_out} set" if len(tested_on) > 1 else data.name
        names = [each.asked.path, shown] if several else []
        for row in each.rows:
            cells = [*map(escape_markdown, [*names, row.title]), summary(row.accuracies)]
            cells += [summary(row.best) if each.asked.protocol.tests > 1 else ""] if tests > 1 else []
            cells += [] if row.scores is None else row.scores.table_cells()
            lines.append(table_row(cells))
    lines += ["", f"{ABOUT} The whole training set: {'; '.join(real)}."] if real else []
    for each in measured:
        where = f"{each.asked.path}: " if several else ""
        lines += [line for text in each.said() for line in ("", escape_markdown(f"{where}{text}"))]
    return lines


def _tested_on(measured: Sequence[MeasuredSet]) -> list[str]:
    """Which parts of their data sets the sets are tested on: one, but where ours, which say it, are among others'."""
    return sorted({each.asked.subject.data.held_out for each in measured})


def _title(measured: Sequence[MeasuredSet]) -> str:
    """What the accuracies are."""
    subject, protocol = measured[0].asked.subject, measured[0].asked.protocol
    counts = "/".join(sorted({str(each.asked.protocol.repeats) for each in measured}))
    tested = f"{'/'.join(_tested_on(measured))} set" + (f" of {subject.data.name}" if len(measured) == 1 else "")
    chosen = ""
    if protocol.selection == "held_out":
        chosen = f", each at that of {protocol.tests} tests which is best on a held-out part of the training set,"
    on = escape_markdown(measured[0].asked.path) if len(measured) == 1 else f"each of {len(measured)} sets"
    return (
        f"Accuracy on the {tested}, per cent: mean +- standard deviation of {counts} networks trained from "
        f"scratch{chosen} on {on}"
    )
