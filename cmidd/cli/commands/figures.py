"""Draw one method without and with CMI: images, t-SNE, accuracy, CMI and weights, as PNG and PDF.

Examples:
    cmidd figures method=dm dataset=digits
    cmidd figures method=dm dataset=cifar10 ipc=50
    cmidd figures method=dm dataset=digits weight=1 to=figures
    cmidd figures method=idm dataset=digits ratio=0.3
"""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from cmidd.analysis import figures
from cmidd.analysis.cells import cells
from cmidd.analysis.measured import Cell
from cmidd.analysis.results import Result, read_results
from cmidd.analysis.settings import FigureSettings, read_standalone
from cmidd.analysis.table import root_word
from cmidd.analysis.verify import rebuild
from cmidd.cli.compose import recipe_strength
from cmidd.compute.devices import pick_device
from cmidd.runs.build import make_context, make_teachers
from cmidd.runs.identity import BASELINE, strength
from cmidd.synthetic.classes import refuse_other_classes
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.text import command_line

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    """Draw every figure that there are runs for."""
    settings = read_standalone(FigureSettings, config)
    found = cells(read_results(settings.results_root))
    which = (settings.method, settings.dataset, settings.ipc)
    by_strength = {key[3]: cell for key, cell in found.items() if key[:3] == which}
    pair = choose_pair(by_strength, settings)
    log_not_shown(by_strength)
    by_weight = [(cell.results[0].weight, cell) for cell in by_strength.values()]
    makers: dict[str, figures.FigureMaker] = {
        "accuracy": lambda: figures.accuracy_curves(pair),
        "cmi": lambda: figures.cmi_curves(pair),
        "weights": lambda: figures.weights({weight: cell for weight, cell in by_weight if weight is not None}),
    }
    if kept := kept_sets(pair):
        sets = {title: load_synthetic(path) for title, path in kept.items()}
        with_cmi = list(pair.values())[1].results[0]
        makers = {"images": lambda: figures.images(sets), **makers}
        makers["embeddings"] = lambda: embeddings(sets, with_cmi, settings)  # Last: it needs the data set as well.
    for path in figures.make(makers, Path(settings.to)):
        log.info("written: %s", path)


def kept_sets(pair: dict[str, Cell]) -> dict[str, Path]:
    """Where a synthetic set of each panel lies; says what is missing where one is not kept, and returns nothing."""
    kept = {title: [path for result in cell.results if (path := result.set_path)] for title, cell in pair.items()}
    for title, paths in kept.items():
        if not paths:
            first = pair[title].results[0]
            log.warning(
                "images, embeddings: not drawn, %s has a record without its synthetic.safetensors (%s); run it "
                "again%s, or give the results_root of the runs themselves",
                title,
                first.path,
                f": {first.record.command}" if first.record.command else "",
            )
            return {}
    return {title: paths[0] for title, paths in kept.items()}


def log_not_shown(by_strength: dict[str, Cell]) -> None:
    """Say what was left out, since a figure does not mix runs that differ in more than their seeds."""
    found = {f"cmi={name}": cell.others for name, cell in by_strength.items() if cell.others}
    lines = [f"{name}: {other.line}" for name, others in found.items() for other in others]
    if lines:
        log.info("left out: %s", "; ".join(lines))


def embeddings(sets: dict[str, SyntheticSet], with_cmi: Result, settings: FigureSettings) -> Figure:
    """The map of embeddings in the first teacher of the run with CMI."""
    run = rebuild(with_cmi, data=asdict(settings.data), buffers_root=settings.buffers_root)
    if run.cmi.teachers is not None:
        run = replace(run, cmi=replace(run.cmi, teachers=replace(run.cmi.teachers, path=settings.teachers)))
    else:
        run = replace(run, cmi=replace(run.cmi, pool=1))
    context = make_context(run, pick_device(settings.device))
    for title, synthetic in sets.items():
        refuse_other_classes(synthetic.classes, context.data.classes, title, context.data.name)
    network = make_teachers(run, context)().at(0)
    real = context.data.class_batches(settings.real_per_class, context.streams("figure"))
    return figures.embeddings(sets, real, network)


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
    ratio = chosen.removeprefix("balanced")
    what, word = ("weight", "lambda") if ratio == chosen else ("ratio", "ratio")
    for kind, setting, needed, key in (("weight", "lambda", BASELINE, BASELINE), (what, word, ratio, chosen)):
        if key not in by_strength:
            raise SettingError(
                f"{kind}={needed}: no such run under {', '.join(settings.results_root)}; make it: "
                f"{command_line('distill')} {' '.join(words)} cmi.{setting}={needed}"
                f"{root_word(settings.results_root[0])}"
            )
    name = settings.method.upper()
    return {name: by_strength[BASELINE], f"{name} + CMI ({what} {ratio})": by_strength[chosen]}
