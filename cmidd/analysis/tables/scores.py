"""The table of scores: HLR, IOR, LRS and ARS of every evaluated set, and what its gain consists of."""

import csv
import io
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cmidd.analysis.evaluations.records import (
    EvaluatedSet,
    ScoresRecord,
    number_of,
    places_of_sets,
    read_evaluated,
    set_name,
)
from cmidd.analysis.results import records
from cmidd.evaluation.scores import ABOUT, SCORES, score_text
from cmidd.utils.text import command_line, escape_markdown, table_row

KIND = "scores"  # of configs/command/table/scores.yaml, whose rows are what is there
HEAD = ("set", "network", *SCORES, "n")


@dataclass(frozen=True)
class ScoredSet:
    """One set on one network."""

    path: Path
    name: str
    network: str
    found: EvaluatedSet

    @property
    def scores(self) -> ScoresRecord:
        return self.found["scores"][self.network]

    def runs(self, score: str) -> list[float]:
        """A score of every run, a fraction."""
        found: list[float] = self.scores[score]["runs"]  # type: ignore[literal-required]
        return found

    @property
    def sentence(self) -> str:
        """What the gain consists of."""
        return f"{self.name}, {self.scores['sentence']}"

    @property
    def n(self) -> int:
        return len(self.runs("IOR"))


def read_scored(roots: Iterable[str | Path]) -> list[ScoredSet]:
    """Every set with scores under ``roots`` that was tested on the test set; of several evaluations of a set on a
    network the last: of those beside one set by their numbers, else by when they were written.

    Raises:
        SettingError: when a root does not exist, or a record cannot be read.
    """
    numbered: dict[tuple[Path, str, str], ScoredSet] = {}
    for path in sorted(records(roots, "*.evaluation*.json"), key=lambda path: (number_of(path), str(path))):
        evaluated = read_evaluated(path)
        places = places_of_sets(path)
        for name, found in evaluated.items():
            for network in found.get("scores", {}) if found.get("tested_on", "test") == "test" else ():
                numbered[places[name], network, set_name(path)] = ScoredSet(path, name, network, found)
    written = sorted(numbered.items(), key=lambda item: item[1].path.stat().st_mtime)
    last = {(place, network): each for (place, network, _), each in written}
    return sorted(last.values(), key=lambda each: (each.name, each.network))


def scores_markdown(scored: list[ScoredSet]) -> str:
    """The table, what its columns are, and below it the sentence of every row."""
    if not scored:
        wanted = f"{command_line('evaluate')} synthetic=<set> scores=true"
        return f"No evaluation there has scores of the test set yet; this makes some:\n\n```bash\n{wanted}\n```\n"
    lines = [table_row(HEAD), "| --- | --- |" + " ---: |" * (len(HEAD) - 2)]
    for each in scored:
        names = [escape_markdown(each.name), escape_markdown(each.network)]
        lines.append(table_row([*names, *(score_text(each.runs(name)) for name in SCORES), each.n]))
    real = sorted({each.scores["real_hard_from"] for each in scored})
    lines += ["", f"{ABOUT} The whole training set: {'; '.join(map(escape_markdown, real))}.", ""]
    lines += [f"- {escape_markdown(each.sentence)}" for each in scored]
    return "\n".join(lines) + "\n"


def scores_csv(scored: list[ScoredSet]) -> str:
    """One line a set and network, scores in fractions with their population standard deviations."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    both = [column for name in SCORES for column in (name, f"{name}_spread")]
    writer.writerow(["set", "network", "mean", *both, "n", "labels", "record", "sentence"])
    for each in scored:
        values = [f(each.runs(name)) for name in SCORES for f in (statistics.fmean, statistics.pstdev)]
        mean = statistics.fmean(each.found["accuracies"][each.network])
        about = [each.n, each.scores["labels"], each.path, each.scores["sentence"]]
        writer.writerow([each.name, each.network, mean, *values, *about])
    return text.getvalue()
