"""Runs and baselines grouped into cells, which never mix: one group is shown, the others are named beside it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cmidd.analysis.cells import (
    MOST_NAMED,
    BaselineCell,
    BaselineKey,
    Cell,
    Key,
    NotShown,
    differing,
    in_words,
    saying_most,
)
from cmidd.analysis.results import Result, records
from cmidd.evaluation.baselines import BaselineRecord
from cmidd.runs.identity import identity_differences
from cmidd.utils import files
from cmidd.utils.checking import validate


def cells(results: Iterable[Result]) -> dict[Key, Cell]:
    """Group runs that differ only in their seeds. Where those of one cell differ in more, the group is shown that
    changed least from its recipe, of several the longest, of several that with the most runs.
    """
    keyed: dict[Key, list[Result]] = defaultdict(list)
    for result in sorted(results, key=lambda result: str(result.path)):
        keyed[result.system, result.dataset, result.ipc, result.strength].append(result)
    return {key: _cell(group) for key, group in keyed.items()}


def _cell(results: Sequence[Result]) -> Cell:
    groups = [_counted_once(group) for group in _alike(results)]
    first, *others = sorted(groups, key=lambda cell: (len(cell.changed), -cell.iterations, -len(cell.results)))
    left_out = [NotShown(each.results, in_words(differing(first, each), MOST_NAMED)) for each in others]
    again = [other for each in others for other in each.others]
    return replace(first, others=(*first.others, *left_out, *again))


def _alike(results: Sequence[Result]) -> list[list[Result]]:
    """Runs that compute the same but for their seeds, together."""
    groups: list[list[Result]] = []
    compared: list[Result] = []  # of each group
    for result in results:
        for number, one in enumerate(compared):
            if all(name == "seed" for name, *_ in identity_differences(one.settings, result.settings)):
                groups[number].append(result)
                compared[number] = saying_most((one, result))
                break
        else:
            groups.append([result])
            compared.append(result)
    return groups


def _counted_once(results: Sequence[Result]) -> Cell:
    """The cell of runs that differ in their seeds at most; the same seed twice counts once."""
    seeds: dict[int, Result] = {}
    others = []
    for result in results:
        first = seeds.setdefault(result.seed, result)
        if first.accuracies != result.accuracies:
            others.append(NotShown((result,), f"seed={result.seed} once more, with other accuracies"))
    return Cell(tuple(seeds.values()), tuple(others))


def read_baselines(roots: Iterable[str | Path]) -> dict[BaselineKey, BaselineCell]:
    """Every baseline under ``roots`` that was measured alone, and tested on the test set. Of several that disagree the
    one is shown that changed least from its recipe, of several that of the most networks.

    Raises:
        SettingError: when a root does not exist, or a record cannot be read.
    """
    keyed: dict[BaselineKey, list[BaselineCell]] = defaultdict(list)
    for path in sorted(records(roots, "*baseline.json"), key=str):
        cell = BaselineCell(path, validate(path, files.read_json(path), BaselineRecord))
        if cell.record["tested_on"] == "test":
            keyed[cell.key].append(cell)
    return {key: _baseline(found) for key, found in keyed.items()}


def _baseline(found: Sequence[BaselineCell]) -> BaselineCell:
    first, *others = sorted(found, key=lambda cell: (len(cell.changed), -len(cell.accuracies)))
    left_out: list[NotShown] = []
    for other in others:
        if all(other.accuracies != known.accuracies for known in (first, *left_out)):
            why = in_words(_changed_otherwise(first, other), MOST_NAMED) or "the same once more, with other accuracies"
            left_out.append(NotShown((other,), why))
    return replace(first, others=tuple(left_out))


def _changed_otherwise(shown: BaselineCell, other: BaselineCell) -> dict[str, list[Any]]:
    """What two baselines changed from their recipe otherwise, ``{setting: [the other's, of what is shown]}``."""

    def value(cell: BaselineCell, beside: BaselineCell, name: str) -> Any:
        return cell.changed[name][0] if name in cell.changed else beside.changed[name][1]

    pairs = {n: [value(other, shown, n), value(shown, other, n)] for n in {**shown.changed, **other.changed}}
    return {name: both for name, both in pairs.items() if both[0] != both[1]}
