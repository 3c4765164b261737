"""Figures of one method without and with CMI: ``python scripts/figures.py method=dm dataset=digits``."""

import logging
from pathlib import Path
from typing import Any

from cmidd import figures
from cmidd.cli import hydra_app, recipe_weight
from cmidd.devices import pick_device
from cmidd.errors import SettingError
from cmidd.results import Cell, cells, read_results
from cmidd.run import make_context
from cmidd.synthetic import load_synthetic
from cmidd.teachers import TeacherPool
from cmidd.verify import rebuild

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    roots = config["results_root"]
    found = cells(read_results([roots] if isinstance(roots, str) else roots))
    which = (config["method"], config["dataset"], config["ipc"])
    by_weight = {key[3]: cell for key, cell in found.items() if key[:3] == which}
    pair = choose_pair(by_weight, config)
    first = [cell.results[0] for cell in pair.values()]
    sets = {
        title: load_synthetic(result.path.parent / "synthetic.safetensors")
        for title, result in zip(pair, first, strict=True)
    }

    def embeddings() -> figures.Figure:
        settings = rebuild(first[1], data=config["data"], buffers_root=config["buffers_root"])
        context = make_context(settings, pick_device(config["device"]))
        network = TeacherPool(context, settings.cmi.teacher, 1, settings.cmi.epochs).networks[0]
        real = context.data.class_batches(config["real_per_class"], context.streams("figure"))
        return figures.embeddings(sets, real, network)

    makers: dict[str, figures.FigureMaker] = {
        "images": lambda: figures.images(sets),
        "embeddings": embeddings,
        "accuracy": lambda: figures.accuracy_curves(pair),
        "cmi": lambda: figures.cmi_curves(pair),
        "weights": lambda: figures.weights(by_weight),
    }
    for path in figures.make(makers, Path(config["to"])):
        log.info("written: %s", path)


def choose_pair(by_weight: dict[float, Cell], config: dict[str, Any]) -> dict[str, Cell]:
    """The runs without CMI and those with it, by the title of their panels."""
    words = [f"method={config['method']}", f"dataset={config['dataset']}", f"ipc={config['ipc']}"]
    positive = [weight for weight in by_weight if weight > 0]
    weight = config["weight"]
    if weight is None:
        weight = (
            positive[0] if len(positive) == 1 else recipe_weight(config["method"], config["dataset"], config["ipc"])
        )
    for needed in (0.0, weight):
        if needed not in by_weight:
            raise SettingError(
                f"weight={needed:g}: no such run under {config['results_root']}; make it: "
                f"python scripts/distill.py {' '.join(words)} cmi.lambda={needed:g}"
            )
    name = config["method"].upper()
    return {name: by_weight[0.0], f"{name} + CMI (weight {weight:g})": by_weight[weight]}


if __name__ == "__main__":
    hydra_app(main, "standalone/figures")
