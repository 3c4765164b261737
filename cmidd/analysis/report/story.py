"""What the page says first: headlines in words, and a chart for each data set and number of images."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from cmidd.analysis.cells import Cell, Key, more_than_cmi, of_shared_seeds
from cmidd.analysis.comparison import Difference, difference
from cmidd.analysis.report.runs import cmi_words
from cmidd.analysis.results import Result
from cmidd.analysis.tables.table import Column, Table
from cmidd.data.published import title_of
from cmidd.runs.identity import BASELINE
from cmidd.runs.titles import in_images, setting_title

Place = tuple[str, int]
"""A data set, and how many images per class."""


MOST_COMMITS = 3  # named at the top


def story(table: Table, results: Sequence[Result], found: Mapping[Key, Cell]) -> dict[str, Any]:
    """The headline, a sentence for each place, what made the runs, and the charts."""
    places = sorted({(dataset, ipc) for _, dataset, ipc, _ in found})
    sentences = [_sentence(place, results, found) for place in places]
    return {
        "headline": sentences[0] if len(places) == 1 else _headline(places, results, found),
        "sentences": sentences if len(places) > 1 else [],
        "made_by": _made_by(results),
        # The tall ones first: so the others fill the column beside them.
        "charts": sorted(
            (_chart(place, table, results, found) for place in places), key=lambda chart: -len(chart["bars"])
        ),
    }


def _headline(places: Sequence[Place], results: Sequence[Result], found: Mapping[Key, Cell]) -> str:
    if not places:
        return "No finished run yet"
    datasets = _listed([title_of(name) for name in dict.fromkeys(dataset for dataset, _ in places)])
    systems, ipcs = len({key[0] for key in found}), sorted({ipc for _, ipc in places})
    images = in_images(ipcs[0]) if len(ipcs) == 1 else f"{ipcs[0]} to {in_images(ipcs[-1])}"
    return f"{_counted(len(results), 'run')} of {_counted(systems, 'method')} on {datasets}, {images}"


def _sentence(place: Place, results: Sequence[Result], found: Mapping[Key, Cell]) -> str:
    """``12 runs on Digits, 10 images per class; best is IDC: 97.77 ± 0.28 (n=5); CMI adds ...``."""
    count = sum((result.dataset, result.ipc) == place for result in results)
    here = {key: cell for key, cell in found.items() if key[1:3] == place}
    best = max(here, key=lambda key: here[key].mean)
    name = _label(best[0], best[3])
    parts = [f"{_counted(count, 'run')} on {setting_title(*place)}"]
    parts.append(f"{'best is ' if len(here) > 1 else ''}{name}: {here[best].text}")
    gains = [
        difference(*(each.sample for each in of_shared_seeds(here[base], cell)))
        for key, cell in here.items()
        if key[3] != BASELINE and (base := (*key[:3], BASELINE)) in here and not more_than_cmi(here[base], cell)
    ]
    if gains:
        parts.append(_gains(gains))
    return "; ".join(parts)


def _gains(gains: Sequence[Difference]) -> str:
    values = sorted(gain.value for gain in gains)
    said = " to ".join(dict.fromkeys(f"{value:+.1f}" for value in (values[0], values[-1])))
    unknown = sum(gain.noise is None for gain in gains)
    beyond = sum(gain.inside_noise is False for gain in gains)
    if unknown == len(gains):
        how = "of unknown noise: single networks"
    elif beyond == 0:
        how = "inside the noise"
    elif beyond == len(gains):
        how = "beyond the noise"
    else:
        how = f"beyond the noise in {beyond} of {len(gains)} comparisons"
    return f"CMI adds {said} points, {how}"


def _made_by(results: Sequence[Result]) -> list[str]:
    commits = list(dict.fromkeys(result.record.commit[:7] for result in results if result.record.commit))
    named = ", ".join(commits[:MOST_COMMITS])
    more = f" and {len(commits) - MOST_COMMITS} more" if len(commits) > MOST_COMMITS else ""
    devices = list(dict.fromkeys(result.record.device for result in results if result.record.device))
    return [
        *([f"commit{'s' if len(commits) > 1 else ''} {named}{more}"] if commits else []),
        *([f"on {', '.join(devices)}"] if devices else []),
    ]


def _chart(place: Place, table: Table, results: Sequence[Result], found: Mapping[Key, Cell]) -> dict[str, Any]:
    here = {key: cell for key, cell in found.items() if key[1:3] == place}
    best = {key[0]: max(cell.mean for other, cell in here.items() if other[0] == key[0]) for key in here}
    order = sorted(here, key=lambda key: (-best[key[0]], key[0], key[3] != BASELINE, here[key].results[0].weight or 0))
    bars = [_bar(key, here[key], table, key == next(k for k in order if k[0] == key[0])) for key in order]
    lines = _lines(place, table, results)
    title = setting_title(*place)
    said = [
        f"{bar['label']} {bar['text']}" + (f", published {bar['paper_text']}" if bar["paper"] else "") for bar in bars
    ]
    said += [f"{line['kind']} {line['mean']:.2f}" for line in lines]
    return {
        "dataset": place[0],
        "ipc": place[1],
        "title": title,
        "bars": bars,
        "lines": lines,
        "alt": f"Chart of the test accuracy in per cent, {title}: {'; '.join(said)}.",
    }


def _bar(key: Key, cell: Cell, table: Table, first: bool) -> dict[str, Any]:
    """A line of a chart; ``first`` of its method carries the method's name, the others stand below it."""
    system, _, _, strength = key
    published = _published(key, cell, table)
    text = "" if published is None else f"{published[0]}" + ("" if published[1] is None else f" ± {published[1]}")
    return {
        "system": system,
        "label": _label(system, strength),
        "short": _label(system, strength) if first else f"+ {cmi_words(strength)}",
        "cmi": strength != BASELINE,
        "mean": cell.mean,
        "spread": cell.spread,
        "text": cell.text,
        "apart": cell.apart or cell.sample.apart,
        "note": cell.of_recipe,
        "paper": published,
        "paper_text": text,
    }


def _published(key: Key, cell: Cell, table: Table) -> tuple[float, float | None] | None:
    """The paper's figure of the row of the table in which a cell stands."""
    system, dataset, ipc, strength = key
    for row in table.rows:
        entry = table.entries.get((row, Column(dataset, ipc)))
        if entry and row.system == system and row.with_cmi == (strength != BASELINE) and entry.ours == cell:
            return entry.published
    return None


def _lines(place: Place, table: Table, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Real images for comparison: of each kind the mean, and least and most where protocols measure differently."""
    measured: dict[str, list[tuple[float, ...]]] = {}
    for result in results:
        if (result.dataset, result.ipc) == place:
            for kind, values in (result.record.baselines or {}).items():
                measured.setdefault(kind, []).append(tuple(values))
    for row in table.rows:
        entry = table.entries.get((row, Column(*place)))
        if row.baseline and entry and entry.ours:
            measured.setdefault(row.baseline, []).append(tuple(entry.ours.accuracies))
    lines = []
    for kind, every in measured.items():
        means = [statistics.fmean(values) for values in dict.fromkeys(every)]
        lines.append({"kind": kind, "mean": statistics.fmean(means), "low": min(means), "high": max(means)})
    return sorted(lines, key=lambda line: line["mean"])


def _label(system: str, strength: str) -> str:
    return system.upper() + ("" if strength == BASELINE else f" + {cmi_words(strength)}")


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
