"""The worth of a training set: networks trained on it from scratch, tested on held-out real images."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmidd.compute.training import Teacher, accuracy, predictions, share_right
from cmidd.core.context import new_network
from cmidd.data.dataset import Dataset
from cmidd.evaluation.class_order import Confusion
from cmidd.evaluation.train_on_set import Optimizer, TrainingStage, digest, train_through
from cmidd.utils import cache, files
from cmidd.utils.checking import validate
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Accuracies, Name

log = logging.getLogger(__name__)

Pieces = dict[Name, Accuracies]
"""What is measured so far of an evaluation or baseline that is not finished."""


def evaluate(
    data: Dataset,
    network: dict[str, Any],
    stages: Sequence[TrainingStage],
    repeats: int,
    streams: Streams,
    *,
    optimizer: Optimizer = "fresh",
    kept: Path | None = None,
    made_by: Mapping[str, Any] | None = None,
    confusion: Confusion | None = None,
    teacher: Teacher | None = None,
) -> list[float]:
    """Accuracy (per cent, on the held-out split) of ``repeats`` networks trained from scratch through ``stages``.

    Args:
        network: the ``name`` of a network with its options.
        kept: a file in which each accuracy is kept as soon as it is measured; those that a like evaluation left there
            are not measured again. Whoever has the accuracies elsewhere removes it.
        made_by: what they depend on beside the network, the stages and the streams; the teacher, where they have one.
        confusion: counts what the networks that are measured now call the images; changes no accuracy.
        teacher: gives the labels of stages whose recipes have ``targets=teacher``.
    """

    def measure(repeat: int) -> float:
        what = f"evaluating, network {repeat + 1} of {repeats}"
        own = streams.child("repeat", repeat)
        return accuracy_of_one(data, network, stages, own, what, optimizer, confusion, teacher)

    if kept is None:
        return [measure(repeat) for repeat in range(repeats)]
    key = {**(made_by or {}), "network": network, "lessons": digest(stages), "streams": streams.seed}
    key |= {} if optimizer == "fresh" else {"optimizer": optimizer}
    return in_pieces(kept, cache.fingerprint(key), repeats, measure)


def accuracy_of_one(
    data: Dataset,
    network: dict[str, Any],
    stages: Sequence[TrainingStage],
    streams: Streams,
    what: str,
    optimizer: Optimizer = "fresh",
    confusion: Confusion | None = None,
    teacher: Teacher | None = None,
) -> float:
    """Accuracy (per cent) of one new network, trained through ``stages``; ``what`` is what the progress bar says, and
    ``confusion`` counts what it calls the images, ``teacher`` gives labels as for :func:`evaluate`.
    """
    trained = new_network(data, network, streams("network"))
    train_through(trained, stages, streams, what=what, optimizer=optimizer, teacher=teacher)
    predicted = predictions(trained, data.test)
    if confusion is not None:
        confusion.add(data.test.labels, predicted, accuracy(trained, stages[-1][0]))
    return share_right(predicted, data.test.labels)


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
    found: dict[str, list[float]] = validate(path, files.read_json(path), Pieces) if path.exists() else {}
    return found
