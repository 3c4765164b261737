"""What a training set is worth: networks trained on it from scratch, tested on held-out real images."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from torch import nn

from cmidd import files
from cmidd.errors import SettingError
from cmidd.formats import Baseline, conforming
from cmidd.objectives.base import Context
from cmidd.sources import Split
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet
from cmidd.training import Count, TrainingRecipe, accuracy, train

log = logging.getLogger(__name__)

Lesson = tuple[Split, TrainingRecipe]
"""Images to train on, and how."""
Optimizer = Literal["fresh", "carried"]
"""What a lesson after the first begins with: an optimiser of its own, or the momentum of the lesson before."""


@dataclass(frozen=True)
class Protocol:
    """How a run is evaluated (methods.md section 5).

    ``repeats`` networks every ``interval`` iterations and at the end; a learned step size replaces
    ``training.lr``. ``baselines`` says which are measured beside: ``random`` real images, trained on like the
    synthetic set, and the ``whole`` data set, trained on by the recipe ``whole``. ``optimizer`` is what a network takes
    from one stage of a set to the next.
    """

    repeats: Count
    interval: Count
    training: TrainingRecipe
    whole: TrainingRecipe
    baselines: tuple[Literal["random", "whole"], ...] = ("random", "whole")
    optimizer: Optimizer = "fresh"


def evaluate(
    context: Context, lessons: Sequence[Lesson], repeats: int, streams: Streams, optimizer: Optimizer = "fresh"
) -> list[float]:
    """Accuracy (per cent, on the held-out split) of ``repeats`` networks trained from scratch through ``lessons``."""
    accuracies = []
    for repeat in range(repeats):
        own = streams.child("repeat", repeat)
        network = context.new_network(own("network"))
        train_through(network, lessons, own, what=f"evaluating {repeat + 1}/{repeats}", optimizer=optimizer)
        accuracies.append(accuracy(network, context.data.test))
    return accuracies


def train_through(
    network: nn.Module,
    lessons: Sequence[Lesson],
    streams: Streams,
    *,
    what: str | None,
    optimizer: Optimizer = "fresh",
) -> None:
    """Train a network in place on one lesson after the other; learning rates begin anew with each."""
    carried = None
    for number, (data, recipe) in enumerate(lessons):
        own = streams.child("lesson", number) if number else streams
        used = train(network, data, recipe, own, what=what, optimizer=carried)
        carried = used if optimizer == "carried" else None


def training_steps(lessons: Sequence[Lesson]) -> int:
    """How many gradient steps a network takes through ``lessons``."""
    return sum(len(recipe.learning_rates) * math.ceil(len(data) / recipe.batch) for data, recipe in lessons)


def lessons_of(synthetic: SyntheticSet, recipe: TrainingRecipe) -> list[Lesson]:
    """How to train on a synthetic set: stage after stage, each by the recipe with the stage's learned step size,
    where it has one (MTT). A set of one stage is one lesson.

    Raises:
        SettingError: when a learned step size is not a positive number.
    """
    lessons = []
    for data, learned in synthetic.decode_stages():
        lr = recipe.lr if learned is None else float(learned.detach())
        if not 0 < lr < math.inf:
            raise SettingError(f"training.lr: the set's learned step size is {lr:g}; give a positive number instead")
        lessons.append((data, dataclasses.replace(recipe, lr=lr)))
    return lessons


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
                    values = evaluate(context, [(context.data.train, protocol.whole)], protocol.repeats, streams)
                else:
                    values = []
                    for repeat in range(protocol.repeats):
                        own = streams.child("draw", repeat)
                        images = context.data.class_batches(ipc, own("images"))
                        values += evaluate(context, [(images, protocol.training)], 1, own)
                files.write_json(path, {"accuracies": values, "made_by": made_by})
            found[kind] = conforming(path, files.read_json(path), Baseline)["accuracies"]
    return found
