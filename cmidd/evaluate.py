"""What a training set is worth: networks trained on it from scratch, tested on held-out real images."""

import dataclasses
import logging
from dataclasses import asdict, dataclass
from typing import Literal

from cmidd import files
from cmidd.objectives.base import Context
from cmidd.sources import Split
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet
from cmidd.training import Count, TrainingRecipe, accuracy, train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Protocol:
    """How a run is evaluated (methods.md section 5).

    ``repeats`` networks every ``interval`` iterations and at the end; a learned step size replaces
    ``training.lr``. ``baselines`` says which are measured beside: ``random`` real images, trained on like the
    synthetic set, and the ``whole`` data set, trained on by the recipe ``whole``.
    """

    repeats: Count
    interval: Count
    training: TrainingRecipe
    whole: TrainingRecipe
    baselines: tuple[Literal["random", "whole"], ...] = ("random", "whole")


def evaluate(context: Context, data: Split, recipe: TrainingRecipe, repeats: int, streams: Streams) -> list[float]:
    """Accuracy (per cent, on the held-out split) of ``repeats`` networks trained from scratch on ``data``."""
    accuracies = []
    for repeat in range(repeats):
        own = streams.child("repeat", repeat)
        network = context.new_network(own("network"))
        train(network, data, recipe, own, what=f"evaluating {repeat + 1}/{repeats}")
        accuracies.append(accuracy(network, context.data.test))
    return accuracies


def recipe_for(synthetic: SyntheticSet, recipe: TrainingRecipe) -> TrainingRecipe:
    """The training recipe with the set's learned step size, where it has one (MTT)."""
    if synthetic.syn_lr is None:
        return recipe
    return dataclasses.replace(recipe, lr=max(float(synthetic.syn_lr.detach()), 1e-8))


def baselines(context: Context, protocol: Protocol, ipc: int) -> dict[str, list[float]]:
    """Accuracies of the protocol's baselines; ``random`` draws ``ipc`` new real images per class for each network.

    They do not depend on the run's seed, so they are measured once and kept under ``buffers/baselines``.
    """
    shared = {**context.made_by, "network": context.network, "repeats": protocol.repeats}
    keys = {
        "random": {**shared, "ipc": ipc, "training": asdict(protocol.training)},
        "whole": {**shared, "training": asdict(protocol.whole)},
    }
    found: dict[str, list[float]] = {}
    for kind in protocol.baselines:
        made_by = keys[kind]
        path = context.buffers / "baselines" / f"{context.data.name}_{kind}_{files.fingerprint(made_by)}.json"
        with files.claimed(path, wait=True):
            if not path.exists():
                log.info("measuring the baseline %r", kind)
                streams = Streams(0).child(kind)
                if kind == "whole":
                    values = evaluate(context, context.data.train, protocol.whole, protocol.repeats, streams)
                else:
                    values = []
                    for repeat in range(protocol.repeats):
                        own = streams.child("draw", repeat)
                        images = context.data.class_batches(ipc, own("images"))
                        values += evaluate(context, images, protocol.training, 1, own)
                files.write_json(path, {"accuracies": values, "made_by": made_by})
            found[kind] = files.read_json(path)["accuracies"]
    return found
