"""Figures of one method without and with CMI: ``python scripts/figures.py method=dm dataset=digits``."""

import logging
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cmidd import figures
from cmidd.cli import hydra_app, recipe_weight
from cmidd.devices import pick_device
from cmidd.errors import SettingError
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
    by_weight = {key[3]: cell for key, cell in found.items() if key[:3] == which}
    pair = choose_pair(by_weight, settings)
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
        "weights": lambda: figures.weights(by_weight),
    }
    for path in figures.make(makers, Path(settings.to)):
        log.info("written: %s", path)


def choose_pair(by_weight: dict[float, Cell], settings: FigureSettings) -> dict[str, Cell]:
    """The runs without CMI and those with it, by the title of their panels."""
    words = [f"method={settings.method}", f"dataset={settings.dataset}", f"ipc={settings.ipc}"]
    positive = [weight for weight in by_weight if weight > 0]
    weight = settings.weight
    if weight is None:
        weight = positive[0] if len(positive) == 1 else recipe_weight(settings.method, settings.dataset, settings.ipc)
    for needed in (0.0, weight):
        if needed not in by_weight:
            raise SettingError(
                f"weight={needed:g}: no such run under {', '.join(settings.results_root)}; make it: "
                f"python scripts/distill.py {' '.join(words)} cmi.lambda={needed:g}"
            )
    name = settings.method.upper()
    return {name: by_weight[0.0], f"{name} + CMI (weight {weight:g})": by_weight[weight]}


if __name__ == "__main__":
    hydra_app(main, "standalone/figures")
