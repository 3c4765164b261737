"""What a training set is worth: networks trained on it from scratch, tested on held-out real images."""

import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from cmidd import files
from cmidd.errors import SettingError
from cmidd.formats import Baseline, Pieces, conforming
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
    synthetic set, and the ``whole`` data set, trained on by the recipe ``whole`` (hours on a CPU, but for the digits).
    ``optimizer`` is what a network takes from one stage of a set to the next.
    """

    repeats: Count
    interval: Count
    training: TrainingRecipe
    whole: TrainingRecipe
    baselines: tuple[Literal["random", "whole"], ...] = ("random",)
    optimizer: Optimizer = "fresh"


def evaluate(
    context: Context,
    lessons: Sequence[Lesson],
    repeats: int,
    streams: Streams,
    kept: Path | None = None,
    optimizer: Optimizer = "fresh",
) -> list[float]:
    """Accuracy (per cent, on the held-out split) of ``repeats`` networks trained from scratch through ``lessons``.

    Args:
        kept: a file in which each accuracy is kept as soon as it is measured; those that a like evaluation left there
            are not measured again. Whoever has the accuracies elsewhere removes it.
    """

    def measure(repeat: int) -> float:
        what = f"evaluating {repeat + 1}/{repeats}"
        return _accuracy_of_one(context, lessons, streams.child("repeat", repeat), what, optimizer)

    if kept is None:
        return [measure(repeat) for repeat in range(repeats)]
    made_by = {**context.made_by, "network": context.network, "lessons": digest(lessons), "streams": streams.seed}
    made_by |= {} if optimizer == "fresh" else {"optimizer": optimizer}
    return in_pieces(kept, files.fingerprint(made_by), repeats, measure)


def _accuracy_of_one(
    context: Context, lessons: Sequence[Lesson], streams: Streams, what: str, optimizer: Optimizer = "fresh"
) -> float:
    network = context.new_network(streams("network"))
    train_through(network, lessons, streams, what=what, optimizer=optimizer)
    return accuracy(network, context.data.test)


def in_pieces(path: Path, key: str, count: int, measure: Callable[[int], float]) -> list[float]:
    """``[measure(0), ..., measure(count - 1)]``, each kept in ``path`` under ``key`` as soon as it is there.

    Raises:
        SettingError: when the file is damaged.
    """
    kept = read_pieces(path)
    values = kept.get(key, [])[:count]
    if values:
        log.info("%d of %d networks are there already, in %s", len(values), count, path)
    for number in range(len(values), count):
        values = [*values, measure(number)]
        files.write_json(path, {**kept, key: values})
    return values


def read_pieces(path: Path) -> dict[str, list[float]]:
    """What :func:`in_pieces` kept.

    Raises:
        SettingError: when the file is damaged.
    """
    found: dict[str, list[float]] = conforming(path, files.read_json(path), Pieces) if path.exists() else {}
    return found


def digest(lessons: Sequence[Lesson]) -> str:
    """Names the images, labels and recipes of ``lessons``."""
    found = hashlib.sha256()
    for data, recipe in lessons:
        for tensor in (data.images, data.labels):
            found.update(tensor.cpu().numpy().tobytes())
        found.update(repr(recipe).encode())
    return found.hexdigest()


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

    They do not depend on the run's seed, so they are measured once and kept under ``buffers/baselines``, each network
    as soon as it is measured. Where the protocol has any, one that is there from before comes along.
    """
    found: dict[str, list[float]] = {}
    for kind in KINDS:
        path, made_by = baseline_file(context, protocol, ipc, kind)
        if kind in protocol.baselines:
            with files.claimed(path, wait=True):
                if not path.exists():
                    log.info("measuring the baseline %r", kind)
                    values = _measure_baseline(context, protocol, ipc, kind, files.unfinished(path))
                    files.write_json(path, {"accuracies": values, "made_by": made_by})
                files.remove_unfinished(path)
        if kind in protocol.baselines or (protocol.baselines and path.exists()):
            found[kind] = conforming(path, files.read_json(path), Baseline)["accuracies"]
    return found


KINDS: tuple[Literal["random", "whole"], ...] = ("random", "whole")


def baseline_file(context: Context, protocol: Protocol, ipc: int, kind: str) -> tuple[Path, dict[str, Any]]:
    """Where the accuracies of a baseline are kept, and what they depend on."""
    shared = {**context.made_by, "network": context.network, "repeats": protocol.repeats}
    if kind == "random":
        made_by = {**shared, "ipc": ipc, "training": asdict(protocol.training)}
    else:
        made_by = {**shared, "training": asdict(protocol.whole)}
    return context.buffers / "baselines" / f"{context.data.name}_{kind}_{files.fingerprint(made_by)}.json", made_by


def _measure_baseline(context: Context, protocol: Protocol, ipc: int, kind: str, kept: Path) -> list[float]:
    streams = Streams(0).child(kind)

    def measure(repeat: int) -> float:
        what = f"evaluating {kind} {repeat + 1}/{protocol.repeats}"
        if kind == "whole":
            own, lesson = streams.child("repeat", repeat), (context.data.train, protocol.whole)
        else:
            draw = streams.child("draw", repeat)
            own, lesson = draw.child("repeat", 0), (context.data.class_batches(ipc, draw("images")), protocol.training)
        return _accuracy_of_one(context, [lesson], own, what)

    return in_pieces(kept, kind, protocol.repeats, measure)
