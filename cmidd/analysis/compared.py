"""The two sides of a comparison: runs, records, baselines and cells, read as accuracies by set."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmidd.analysis.cells import MOST_NAMED, BaselineCell, Cell, Key, in_words
from cmidd.analysis.comparison import Sample, difference, over_pairs
from cmidd.analysis.evaluations.records import NAME, read_evaluated
from cmidd.analysis.grouping import cells
from cmidd.analysis.results import Result, read_results, records
from cmidd.evaluation.baselines import BaselineRecord
from cmidd.runs.identity import BASELINE
from cmidd.runs.record import read_record
from cmidd.utils import files
from cmidd.utils.checking import mapping, shown, validate
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import differences
from cmidd.utils.noise import RULE

WAYS = (
    "give a run's folder, a folder above several seeds, a record (result.json, *.evaluation<n>.json, *.baseline.json), "
    "or a cell as dm:cifar10:10:8000"
)


@dataclass(frozen=True)
class Side:
    """One of the two: what it is in words, its accuracies by set, and what makes it comparable.

    ``dataset``, ``ipc`` and ``content`` (of the images) are None where nothing tells, and ``ipc`` for the whole data
    set. ``protocol`` has the ``network``, the ``training`` and the ``evaluation`` that measured it; ``begun`` names
    what each set of runs began with, its seed among them.
    """

    what: str
    sample: Sample
    dataset: str | None
    ipc: int | None
    tested_on: str = "test"
    content: str | None = None
    protocol: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    begun: tuple[Any, ...] = ()


def read_side(word: str, name: str, roots: Sequence[str], network: str | None) -> Side:
    """What a word means: a path, else a cell of what lies under ``roots``.

    Args:
        name: what the word is called in errors, ``a`` or ``b``.
        network: which of an evaluation's networks; None where it has one.

    Raises:
        SettingError: when it is none of :data:`WAYS`, or holds runs that are no one cell.
    """
    path = Path(word).expanduser()
    if path.is_dir():
        if (path / "result.json").exists():
            return _of_run(path / "result.json")
        found = cells(Result(each, read_record(each)) for each in records([path], "*result.json"))
        if not found:
            raise SettingError(f"{name}={shown(word)}: no record of a finished run below that folder; {WAYS}")
        if len(found) > 1:
            which = ", ".join(_cell_word(key) for key in [*found][:MOST_NAMED])
            raise SettingError(
                f"{name}={shown(word)}: holds runs of {len(found)} cells, {which}...; give the folder of one, or "
                f"{name}=<cell> results_root={shown(word)}"
            )
        return _of_cell(next(iter(found.values())))
    if path.is_file():
        if path.name.endswith("baseline.json"):
            return _of_baseline(path)
        if path.name.endswith("result.json"):
            return _of_run(path)
        if NAME.fullmatch(path.name):
            return _of_evaluation(path, name, network)
        raise SettingError(f"{name}={shown(word)}: no record that says accuracies; {WAYS}")
    return _of_cell(_cell(word, name, roots))


def _cell(word: str, name: str, roots: Sequence[str]) -> Cell:
    system, *rest = word.split(":")
    if len(rest) not in (2, 3) or not rest[1].isdecimal():
        raise SettingError(f"{name}={shown(word)}: neither a file or folder that is there, nor a cell; {WAYS}")
    strength = rest[2] if len(rest) == 3 else BASELINE
    strength = f"{float(strength):.10g}" if re.fullmatch(r"\d+(\.\d*)?(e[+-]?\d+)?", strength) else strength
    found, key = cells(read_results(roots)), (system, rest[0], int(rest[1]), strength)
    if key not in found:
        near = sorted(found, key=lambda other: -sum(x == y for x, y in zip(key, other, strict=True)))[:MOST_NAMED]
        there = f"there are {', '.join(map(_cell_word, near))}" if near else "no finished run lies there"
        raise SettingError(
            f"{name}={shown(word)}: no run of that cell under results_root={', '.join(roots)}; {there}; choose one, or "
            "give results_root="
        )
    return found[key]


def _cell_word(key: Key) -> str:
    return ":".join(map(str, key))


def _of_cell(cell: Cell) -> Side:
    first, *_ = cell.results
    left_out = tuple(f"left out, as in the tables: {other.line}" for other in cell.others)
    seeds = ", ".join(str(result.seed) for result in cell.results)
    return Side(
        f"{_title(first)}, seed {seeds}",
        cell.sample,
        first.dataset,
        first.ipc,
        first.record.tested_on,
        first.settings.get("data", {}).get("content"),
        {
            "network": first.settings.get("network", {}),
            "training": first.settings.get("evaluation", {}).get("training", {}),
            "evaluation": _counted(first.settings.get("evaluation", {})),
        },
        (*filter(None, [cell.of_recipe]), *left_out),
        tuple((result.system, result.settings.get("init"), result.seed) for result in cell.results),
    )


def _of_run(path: Path) -> Side:
    return _of_cell(Cell((Result(path, read_record(path)),)))


def _title(result: Result) -> str:
    cmi = "" if result.strength == BASELINE else f" with CMI {result.strength}"
    return f"{result.system.upper()}{cmi}, {result.dataset}, {result.ipc} images per class"


def _of_baseline(path: Path) -> Side:
    cell = BaselineCell(path, validate(path, files.read_json(path), BaselineRecord))
    record = cell.record
    each = f", {record['ipc']} images per class, as {record['method']} evaluates" if record["ipc"] else ""
    made_by = record.get("made_by", {})
    content = made_by.get("data", {}).get("content")
    if record["dataset"].startswith("folder_") and record.get("read_from") == "published files":
        content = None  # An earlier version's, which named the images of a folder otherwise.
    return Side(
        f"{record['baseline']} real images, {record['dataset']}{each}",
        cell.sample,
        record["dataset"],
        record["ipc"],
        record["tested_on"],
        content,
        {
            "network": made_by.get("network", {}),
            "training": made_by.get("training", {}),
            "evaluation": _counted({}),
        },
        tuple(filter(None, [cell.of_recipe])),
    )


def _of_evaluation(path: Path, name: str, network: str | None) -> Side:
    """Of one set, or of several that differ in nothing but their seeds."""
    found = read_evaluated(path)
    first, *others = found.values()
    for other in others:
        unlike = differences({**first["synthetic"], "seed": 0}, {**other["synthetic"], "seed": 0})
        if unlike or not first["synthetic"]:
            what = f"{unlike[0][0]}={shown(unlike[0][2])}" if unlike else "what they are is not said"
            raise SettingError(f"{name}={path}: holds sets that differ in more than their seeds ({what}); give one's")
    networks = list(first["accuracies"])
    network = networks[0] if network is None and len(networks) == 1 else network
    if network is None or any(network not in each["accuracies"] for each in found.values()):
        raise SettingError(
            f"network={shown(network)}: {name}={path} has {', '.join(networks)}; choose one of them, network=<name>"
        )
    about = first["synthetic"]
    own = mapping(first.get("network", about.get("network", {})), f"{path}: network")
    options = own if own.get("name") == network else {"name": network}
    return Side(
        f"{', '.join(found)} on {network}",
        Sample(tuple(tuple(each["accuracies"][network]) for each in found.values())),
        first.get("dataset") or about.get("dataset"),
        first.get("ipc") or about.get("ipc"),
        first.get("tested_on", "test"),
        protocol={
            "network": options,
            "training": first["training"],
            "evaluation": _counted(first.get("evaluation", {})),
        },
    )


def _counted(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Which test of a network counts: the last, where nothing says another."""
    selection = evaluation.get("selection", "last")
    return {"selection": selection, **({"tests": evaluation.get("tests")} if selection != "last" else {})}


def compared(one: Side, other: Side) -> list[str]:
    """The lines of a comparison: both sides, the difference with its noise, a sentence, and what else to know.

    Raises:
        SettingError: when the two are of different data, or another number of images per class.
    """
    _refuse_unlike(one, other)
    found = difference(one.sample, other.sample)
    part = "" if one.tested_on == "test" else f", on the {one.tested_on} part"
    lines = [f"{name}: {it.what}{part}: {it.sample.mean:.2f} ({it.sample.apart})" for name, it in _named(one, other)]
    lines += [f"B - A: {found.value:+.2f} points, {found.certainty}", found.sentence("A", "B")]
    if found.over == "networks":
        lines.append(
            "Over networks, as of one side there is a single set: it holds for these sets, not for others that the "
            "same settings make; run more seeds."
        )
    if one.begun and one.begun == other.begun and (pairs := over_pairs(one.sample, other.sample)):
        lines.append(pairs)
    lines += [f"{name}: {note}" for name, side in _named(one, other) for note in side.notes]
    if differing := _unlike_protocols(one.protocol, other.protocol):
        lines.append(f"Not measured alike, which may be the difference: B has {in_words(differing)}")
    return [*lines, f"({RULE}.)"]


def _named(one: Side, other: Side) -> list[tuple[str, Side]]:
    return [("A", one), ("B", other)]


def _refuse_unlike(one: Side, other: Side) -> None:
    for what, first, second in (
        ("data set", one.dataset, other.dataset),
        ("number of images per class", one.ipc, other.ipc),
        ("part that they were tested on", one.tested_on, other.tested_on),
        ("content of the data set", one.content, other.content),
    ):
        if first is not None and second is not None and first != second:
            raise SettingError(
                f"b: another {what} than a, {second} instead of {first}: the difference would say nothing of the sets; "
                "choose two of the same"
            )


def _unlike_protocols(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    """What differs in how two were measured, ``{setting: [the other's, the one's]}``, as far as both say it."""
    found = [difference for difference in differences(one, other) if None not in difference[1:]]
    return {name: [new, old] for name, old, new in found if new != {} and old != {}}
