"""The runs of the page as cards: what a run is worth, its curves and pictures, and what differs from its baseline."""

import os
import statistics
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from cmidd.analysis.cells import MOST_NAMED, Cell, differing, in_words, more_than_cmi
from cmidd.analysis.comparison import difference
from cmidd.analysis.report import images as report_images
from cmidd.analysis.results import Result
from cmidd.runs.identity import BASELINE, setting_of
from cmidd.runs.moments import spread
from cmidd.runs.titles import setting_title
from cmidd.utils import files
from cmidd.utils.checking import shown
from cmidd.utils.noise import deviation
from cmidd.utils.text import duration, summary

Point = tuple[float, float | None, float, float]  # iteration, seconds, value, spread
MOST_POINTS = 60  # of a curve: as many as a card has room to show


def cards(results: Sequence[Result], folder: Path | None = None) -> dict[str, list[Any]]:
    """The runs, and the cards that show them: one for each method, data set, number of images and seed.

    Args:
        folder: where the page will lie, for links to the pictures in full.

    Returns:
        ``runs`` in the order of the ``cards``, which have the numbers of theirs, the baseline and the run that is
        compared with it first; and the ``images``, of which both have the numbers.
    """
    album, room = report_images.Album(), report_images.room_of_moments(results)
    together: dict[tuple[str, str, int, int], list[Result]] = defaultdict(list)
    for result in results:
        together[result.dataset, result.system, result.ipc, result.seed].append(result)
    runs: list[dict[str, Any]] = []
    made: list[dict[str, Any]] = []
    for (dataset, system, ipc, seed), members in sorted(together.items()):
        members.sort(key=lambda each: (each.strength != BASELINE, each.weight is None, each.weight, each.strength))
        pair = _pair(members)
        members = [*pair, *(each for each in members if each not in pair)]
        title = f"{system.upper()}, {setting_title(dataset, ipc)}, seed {seed}"
        numbers = range(len(runs), len(runs) + len(members))
        named = zip(members, _names(members), strict=True)
        runs += [_run(result, title, name, folder, album, room) for result, name in named]
        made.append({"title": title, "runs": [*numbers], "pair": _compared(*pair, album) if pair else None})
    return {"runs": runs, "cards": made, "images": album.addresses()}


def cmi_words(strength: str) -> str:
    """A :func:`cmidd.runs.identity.strength` of CMI, in words."""
    setting, value = setting_of(strength)
    return f"CMI, ratio {value}" if setting == "ratio" else f"CMI {value}"


def _names(members: Sequence[Result]) -> list[str]:
    """What the runs of a card are called: by their CMI, and in what they differ where several have the same."""
    names, firsts = [], dict[str, Result]()
    for each in members:
        name = "without CMI" if each.strength == BASELINE else f"with {cmi_words(each.strength)}"
        first = firsts.setdefault(name, each)
        if first is not each:
            found = [*differing(Cell((first,)), Cell((each,))).items()][:MOST_NAMED]
            name += f", {', '.join(f'{setting}={shown(own)}' for setting, (own, _) in found) or 'once more'}"
        names.append(name)
    return names


def _run(
    result: Result, title: str, name: str, folder: Path | None, album: report_images.Album, room: tuple[int, int]
) -> dict[str, Any]:
    record = result.record
    cost = [  # as far as earlier versions recorded it
        *([] if record.seconds is None else [f"{duration(record.seconds)} for {record.last['iteration']} iterations"]),
        *([] if record.peak_memory_mib is None else [f"{record.peak_memory_mib:.0f} MiB at most"]),
        *([] if record.device is None else [record.device]),
    ]
    baselines = [f"{kind}: {_summary(values)}" for kind, values in (record.baselines or {}).items()]
    path = report_images.picture_path(result)
    return {
        "method": result.system,
        "dataset": result.dataset,
        "ipc": result.ipc,
        "cmi": result.strength != BASELINE,
        "name": name,
        "title": f"{title}, {name}",
        "iteration": record.last["iteration"],
        "accuracy": f"test accuracy {_summary(result.accuracies)} per cent",
        "facts": [*baselines, *([", ".join(cost)] if cost else [])],
        "changed": [f"{key}={shown(own)} instead of {shown(its)}" for key, (own, its) in result.changed.items()],
        "curves": _curves(result),
        "command": record.command or "",
        "image": None if path is None else album.add(partial(report_images.opened, path), path.stat().st_size),
        "size": None if path is None else report_images.opened(path).size,
        "file": None if path is None or folder is None else _beside(path, folder),
        "moments": _moments(result, album, *room),
    }


def _moments(result: Result, album: report_images.Album, most: int, size: int) -> list[dict[str, int]]:
    """Moments of a run, evenly spread from the first to the last."""
    return [
        {"iteration": at, "image": album.add(partial(report_images.opened, path), path.stat().st_size, size)}
        for at, path in spread([*report_images.moment_paths(result).items()], most)
        if report_images.readable(path)
    ]


def _summary(values: list[float]) -> str:
    return summary(values).replace("+-", "±")


def _beside(path: Path, folder: Path) -> str | None:
    """The address of a file from the page, where a folder that holds both could be moved; else None."""
    relative = os.path.relpath(path.resolve(), folder.resolve())
    return None if relative.startswith("..") else Path(relative).as_posix()


def _pair(members: Sequence[Result]) -> tuple[Result, Result] | tuple[()]:
    """A baseline and a run with CMI beside it, the first that differ in nothing else, or the first; nothing where one
    of the two is not there.
    """
    bases, others = ([each for each in members if (each.strength == BASELINE) == own] for own in (True, False))
    pairs = [(base, other) for base in bases for other in others]
    alike = (pair for pair in pairs if not more_than_cmi(*(Cell((each,)) for each in pair)))
    return next(alike, pairs[0] if pairs else ())


def _compared(base: Result, other: Result, album: report_images.Album) -> dict[str, Any]:
    """What CMI adds, and where the pictures of the two differ."""
    pair = Cell((base,)), Cell((other,))
    found = difference(*(each.sample for each in pair))
    sentence = found.sentence("without CMI", f"with {cmi_words(other.strength)}")
    unlike = in_words(more_than_cmi(*pair))
    made: dict[str, Any] = {
        "text": sentence[0].upper() + sentence[1:],
        "unlike": f"They differ in more than CMI: {unlike}." if unlike else "",
    }
    if (paths := report_images.to_compare(base, other)) is not None:
        picture, times, mean = report_images.difference(*map(report_images.opened, paths))
        # Made once more when it is written: of 500 runs they would fill the memory.
        again = partial(lambda *both: report_images.difference(*map(report_images.opened, both))[0], *paths)
        made["image"] = album.add(again, paths[0].stat().st_size)
        made["size"] = picture.size
        made["caption"] = f"difference of the two, {times:.1f} times as bright; on average {mean:.1f} of 255"
    return made


def _curves(result: Result) -> list[dict[str, Any]]:
    evaluated = [
        (float(at), statistics.fmean(values), deviation(values))
        for at, values in sorted(result.evaluations.items(), key=lambda item: int(item[0]))
    ]
    curves = [("test accuracy, per cent", evaluated)]
    path = result.path.with_name("metrics.jsonl")
    rows = files.read_rows(path) if result.path.name == "result.json" and path.exists() else []
    for name, title in (("loss", "loss"), ("cmi", "CMI, nats")):
        curves.append((title, [(row["iteration"], row[name], 0.0) for row in rows if name in row]))
    known = _known_seconds(result)
    return [
        {"title": title, "points": [_point(*point, known) for point in thinned(points)]}
        for title, points in curves
        if len(points) > 1
    ]


def _point(iteration: float, value: float, spread: float, known: list[tuple[float, float]]) -> Point:
    seconds = seconds_at(iteration, known)
    return iteration, None if seconds is None else _short(seconds), _short(value), _short(spread)


def _short(value: float) -> float:
    """Five digits: more than a screen shows, and half the bytes."""
    return float(f"{value:.5g}")


def _known_seconds(result: Result) -> list[tuple[float, float]]:
    """By iteration, the seconds of distillation that were recorded."""
    record = result.record
    known = {int(at): seconds for at, seconds in (record.evaluated_at_seconds or {}).items()}
    if record.seconds is not None:
        known.setdefault(record.last["iteration"], record.seconds)
    return sorted({0: 0.0, **known}.items()) if known else []


def seconds_at(iteration: float, known: list[tuple[float, float]]) -> float | None:
    """The seconds after which an iteration was done, on the line between the two that are known around it; None where
    they are not.
    """
    for (before, first), (after, last) in pairwise(known):
        if before <= iteration <= after:
            return first + (last - first) * (iteration - before) / (after - before)
    return None


def thinned(points: list[tuple[float, float, float]], most: int = MOST_POINTS) -> list[tuple[float, float, float]]:
    """Some of the points, evenly spread, the last among them."""
    step = -(-len(points) // most)
    return points[::-step][::-1] if points else points
