"""Draw one method without and with CMI: images, t-SNE, curves, weights, all on one page, as PNG and PDF.

Examples:
    cmidd figures method=dm dataset=digits
    cmidd figures method=dm dataset=digits weight=1 to=figures
    cmidd figures method=idm dataset=digits ratio=0.3
    cmidd figures method=dm dataset=digits movie=true    # and how the images changed, as an animated GIF
"""

import logging
import textwrap
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cmidd.analysis.cells import MOST_NAMED, Cell, in_words, more_than_cmi, more_than_strength, of_shared_seeds
from cmidd.analysis.figures.curves import accuracy_curves, cmi_curves
from cmidd.analysis.figures.embeddings import embeddings
from cmidd.analysis.figures.images import images
from cmidd.analysis.figures.lines import reference_lines
from cmidd.analysis.figures.movie import movie
from cmidd.analysis.figures.page import arrangement
from cmidd.analysis.figures.style import Drawing, Maker, make
from cmidd.analysis.figures.weights import enough, weights
from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.results import Result, read_results
from cmidd.analysis.settings import FigureSettings, read_standalone
from cmidd.analysis.tables.table import root_word
from cmidd.analysis.verify import rebuild
from cmidd.cli.compose import recipe_strength
from cmidd.cli.published import published_layouts
from cmidd.compute.devices import pick_device
from cmidd.runs.build import context_of, load_data, make_teachers
from cmidd.runs.identity import BASELINE, setting_of, strength
from cmidd.runs.moments import moments_of
from cmidd.runs.titles import method_title, setting_title
from cmidd.synthetic.classes import refuse_other_classes
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.text import command_line

log = logging.getLogger(__name__)
TITLE_WIDTH = 46  # signs, of the narrowest figure


def main(config: dict[str, Any]) -> None:
    """Draw every figure that there are runs for."""
    settings = read_standalone(FigureSettings, config)
    refuse_strengths(settings)
    found = cells(read_results(settings.results_root))
    which = (settings.method, settings.dataset, settings.ipc)
    by_strength = {key[3]: cell for key, cell in found.items() if key[:3] == which}
    pair = choose_pair(by_strength, settings)
    filmed = moments_to_show(pair) if settings.movie else {}
    log_not_shown(by_strength)
    lines = reference_lines(pair, read_baselines(settings.results_root), published_layouts())
    makers: dict[str, Maker] = {
        "accuracy": lambda: accuracy_curves(pair, lines),
        "cmi": lambda: cmi_curves(pair),
        "weights": lambda: weights(of_one_kind(by_strength, pair), lines),
    }
    if kept := kept_sets(pair):
        panels = zip(titles_of(kept), pair.values(), kept.values(), strict=True)
        sets = {
            f"{title}\n{cell.text} per cent": load_synthetic(path)
            for title, cell, one in panels
            if (path := one.set_path)
        }
        with_cmi = list(pair.values())[1].results[0]
        makers = {"images": lambda: images(sets, alike=of_one_seed(kept)), **makers}
        makers["embeddings"] = lambda: map_of(sets, with_cmi, settings)  # Last: it needs the data set as well.
    title, to = f"{settings.method.upper()} on {setting_title(settings.dataset, settings.ipc)}", Path(settings.to)
    below = f"{title}{unlike(pair)}"
    drawn, written = make(makers, below, to)
    written += make({"arrangement": lambda: arrangement(drawn)}, below, to)[1]
    if filmed:
        movie(filmed, title, to / "movie.gif")
        written.append(to / "movie.gif")
    for path in written:
        log.info("written: %s", path)


def same_seed(pair: dict[str, Cell], has: Callable[[Result], object]) -> dict[str, Result] | None:
    """A run of each panel that has something: of one seed, where there are such, else of the first seed of each; None
    where a panel has none.
    """
    candidates = {name: {result.seed: result for result in cell.results if has(result)} for name, cell in pair.items()}
    if not all(candidates.values()):
        return None
    common = set.intersection(*(set(each) for each in candidates.values()))
    return {name: each[min(common or each)] for name, each in candidates.items()}


def of_one_seed(chosen: dict[str, Result]) -> bool:
    """Whether what the panels show began with the same images."""
    return len({result.seed for result in chosen.values()}) == 1


def titles_of(chosen: dict[str, Result]) -> list[str]:
    """The titles of the panels, with their seeds where these differ."""
    one = of_one_seed(chosen)
    return [name if one else f"{name}, seed {result.seed}" for name, result in chosen.items()]


def moments_to_show(pair: dict[str, Cell]) -> dict[str, dict[int, Path]]:
    """The moments of a run of each panel.

    Raises:
        SettingError: when runs of a panel kept none.
    """
    chosen = same_seed(pair, lambda result: moments_of(result.path.parent))
    if chosen is None:
        without = next(
            result
            for cell in pair.values()
            if not any(moments_of(one.path.parent) for one in cell.results)
            for result in cell.results
        )
        raise SettingError(
            f"movie=true: {without.path.parent} has no moments/, being of an earlier version, or a record that is kept "
            "alone; run it again with evaluation.interval=<iterations>, or leave out movie"
        )
    moments = (moments_of(result.path.parent) for result in chosen.values())
    return dict(zip(titles_of(chosen), moments, strict=True))


def kept_sets(pair: dict[str, Cell]) -> dict[str, Result]:
    """A run of each panel whose set is kept; says what is missing where a panel has none, and returns nothing."""
    chosen = same_seed(pair, lambda result: result.set_path)
    if chosen is not None:
        if not of_one_seed(chosen):
            log.warning(
                "images: without their difference, it needs two sets of one seed; drawn are %s",
                "; ".join(titles_of(chosen)),
            )
        return chosen
    name, first = next(
        (name, cell.results[0]) for name, cell in pair.items() if not any(result.set_path for result in cell.results)
    )
    log.warning(
        "images, embeddings: not drawn, %s has a record without its synthetic.safetensors (%s); run it "
        "again%s, or give the results_root of the runs themselves",
        name,
        first.path,
        f": {first.record.command}" if first.record.command else "",
    )
    return {}


def log_not_shown(by_strength: dict[str, Cell]) -> None:
    """Say what was left out, since a figure does not mix runs that differ in more than their seeds."""
    found = {f"cmi={name}": cell.others for name, cell in by_strength.items() if cell.others}
    lines = [f"{name}: {other.line}" for name, others in found.items() for other in others]
    if lines:
        log.info("left out: %s", "; ".join(lines))


def unlike(pair: dict[str, Cell]) -> str:
    """What stands below the title of figures whose two cells differ in more than CMI; nothing where they do not."""
    differing = more_than_cmi(*pair.values())
    if not differing:
        return ""
    said = f"they differ in more than CMI: {in_words(differing, MOST_NAMED)}"
    log.warning("%s", said)
    return f"\n{textwrap.fill(said, TITLE_WIDTH)}"


def of_one_kind(by_strength: dict[str, Cell], pair: dict[str, Cell]) -> dict[str, Cell]:
    """The baseline, and the cells that one line may join, over the seeds that all have: those that differ from the one
    with CMI in its strength alone; the log says which others there are.
    """
    _, with_cmi = pair.values()
    found = {name: more_than_strength(with_cmi, cell) for name, cell in by_strength.items() if name != BASELINE}
    for name, differing in found.items():
        if differing:
            log.info("weights: left out: cmi=%s: %s", name, in_words(differing, MOST_NAMED))
    alike = {name: cell for name, cell in by_strength.items() if not found.get(name)}
    drawn = enough(alike)
    of_seeds = alike | dict(zip(drawn, of_shared_seeds(*drawn.values()), strict=True))
    if of_seeds != alike:
        seeds = ", ".join(str(result.seed) for result in of_seeds[BASELINE].results)
        log.info("weights: over the seeds that all have: %s", seeds)
    return of_seeds


def map_of(sets: dict[str, SyntheticSet], with_cmi: Result, settings: FigureSettings) -> Drawing | str:
    """The map of embeddings in the first teacher of the run with CMI, which sees what teachers of CMI do; what it needs
    where the data set cannot be read.
    """
    run = rebuild(with_cmi, data=asdict(settings.data), buffers_root=settings.buffers_root)
    if run.cmi.teachers is not None:
        run = replace(run, cmi=replace(run.cmi, teachers=replace(run.cmi.teachers, path=settings.teachers)))
    else:
        run = replace(run, cmi=replace(run.cmi, pool=1))
    device = pick_device(settings.device)
    try:
        data = load_data(run, device)
    except SettingError as error:  # The other figures do without.
        return f"the data set: {error}"
    context = context_of(run, data)
    for title, synthetic in sets.items():
        refuse_other_classes(synthetic.classes, context.data.classes, title.partition("\n")[0], context.data.name)
    network = make_teachers(run, context)().at(0)
    real = context.data.class_batches(settings.real_per_class, context.streams("figure"))
    if run.cmi.input == "pixels":
        return embeddings(sets, real, network, seen=context.data.preprocessing.inverse)
    return embeddings(sets, real, network)


def refuse_strengths(settings: FigureSettings) -> None:
    """Refuse a strength of CMI that is none, and two of them.

    Raises:
        SettingError: for the first that is wrong.
    """
    if settings.weight == 0:
        raise SettingError(
            "weight=0: the set without CMI is always drawn; give the weight of the one beside it, or leave weight out"
        )
    if settings.weight is not None and settings.ratio is not None:
        raise SettingError(
            f"weight={settings.weight}: beside ratio={settings.ratio}, and one set with CMI is drawn; give one of them"
        )


def choose_pair(by_strength: dict[str, Cell], settings: FigureSettings) -> dict[str, Cell]:
    """The runs without CMI and those with it, by the title of their panels."""
    words = [f"method={settings.method}", f"dataset={settings.dataset}", f"ipc={settings.ipc}"]
    with_cmi = [chosen for chosen in by_strength if chosen != BASELINE]
    if settings.weight is not None or settings.ratio is not None:
        chosen = strength({"weight": settings.weight, "ratio": settings.ratio})
    elif len(with_cmi) == 1:
        chosen = with_cmi[0]
    else:
        chosen = recipe_strength(settings.method, settings.dataset, settings.ipc)
    for key in (BASELINE, chosen):
        setting, value = setting_of(key)
        if key not in by_strength:
            kind = "weight" if setting == "lambda" else setting
            raise SettingError(
                f"{kind}={value}: no such run under {', '.join(settings.results_root)}; make it: "
                f"{command_line('distill')} {' '.join(words)} cmi.{setting}={value}"
                f"{root_word(settings.results_root[0])}"
            )
    return {method_title(settings.method, name): by_strength[name] for name in (BASELINE, chosen)}
