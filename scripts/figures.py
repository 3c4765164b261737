"""Figures of one method without and with CMI: ``python scripts/figures.py method=dm dataset=digits``."""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cmidd import figures
from cmidd.cli import hydra_app, recipe_strength
from cmidd.devices import pick_device
from cmidd.errors import SettingError
from cmidd.records import BASELINE, strength
from cmidd.results import Cell, cells, read_results
from cmidd.run import make_context
from cmidd.standalone import FigureSettings, read_standalone
from cmidd.synthetic import load_synthetic
from cmidd.teachers import TeacherPools
from cmidd.verify import rebuild

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    settings = read_standalone(FigureSettings, config)
    found = cells(read_results(settings.results_root))
    which = (settings.method, settings.dataset, settings.ipc)
    by_strength = {key[3]: cell for key, cell in found.items() if key[:3] == which}
    pair = choose_pair(by_strength, settings)
    weights = [(cell.results[0].weight, cell) for cell in by_strength.values()]
    first = [cell.results[0] for cell in pair.values()]
    sets = {
        title: load_synthetic(result.path.parent / "synthetic.safetensors")
        for title, result in zip(pair, first, strict=True)
    }

    def embeddings() -> figures.Figure:
        run = rebuild(first[1], data=asdict(settings.data), buffers_root=settings.buffers_root)
        if run.cmi.teachers is not None:
            run = replace(run, cmi=replace(run.cmi, teachers=replace(run.cmi.teachers, path=settings.teachers)))
        else:
            run = replace(run, cmi=replace(run.cmi, pool=1))
        context = make_context(run, pick_device(settings.device))
        network = TeacherPools(context, run.cmi)().networks[0]
        real = context.data.class_batches(settings.real_per_class, context.streams("figure"))
        return figures.embeddings(sets, real, network)

    makers: dict[str, figures.FigureMaker] = {
        "images": lambda: figures.images(sets),
        "embeddings": embeddings,
        "accuracy": lambda: figures.accuracy_curves(pair),
        "cmi": lambda: figures.cmi_curves(pair),
        "weights": lambda: figures.weights({weight: cell for weight, cell in weights if weight is not None}),
    }
    for path in figures.make(makers, Path(settings.to)):
        log.info("written: %s", path)


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
                f"python scripts/distill.py {' '.join(words)} cmi.{setting}={needed}"
            )
    name = settings.method.upper()
    return {name: by_strength[BASELINE], f"{name} + CMI ({what} {ratio})": by_strength[chosen]}


if __name__ == "__main__":
    hydra_app(main, "standalone/figures")
