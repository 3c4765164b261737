"""The worth of a training set: networks trained on it from scratch, tested on held-out real images."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmidd.compute.together import how_many_at_once
from cmidd.compute.training import Teacher, accuracy, predictions, share_right
from cmidd.core.context import blank_of, new_network
from cmidd.data.dataset import Dataset
from cmidd.data.split import Split
from cmidd.evaluation.class_order import Confusion
from cmidd.evaluation.selection import Tests, moments
from cmidd.evaluation.train_on_set import Optimizer, TrainingStage, digest, train_through, training_passes
from cmidd.utils import cache, files
from cmidd.utils.checking import validate
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Accuracies, Name

log = logging.getLogger(__name__)

Pieces = dict[Name, Accuracies]
"""What is measured so far of an evaluation or baseline that is not finished."""


@dataclass(frozen=True)
class TrainAndTest:
    """How a network is trained from scratch and tested; an evaluation does it once for every repeat.

    Attributes:
        data: whose held-out images test it.
        network: its ``name`` with its options.
        stages: what it is trained on, in turn, and how.
        optimizer: what a stage after the first begins with.
        teacher: gives the labels of stages whose recipes ask for one.
        tests: how many, at equal distances of the training; the last is the same for any number.
        held_out: real images on which every test is repeated, to choose the one that counts.
    """

    data: Dataset
    network: dict[str, Any]
    stages: Sequence[TrainingStage]
    optimizer: Optimizer = "fresh"
    teacher: Teacher | None = None
    tests: int = 1
    held_out: Split | None = None

    @property
    def at_once(self) -> int:
        """How many networks are trained at once."""
        blank = blank_of(self.data, self.network)
        return min(how_many_at_once(blank, recipe, images) for images, recipe in self.stages)


def evaluate(
    data: Dataset,
    network: dict[str, Any],
    stages: Sequence[TrainingStage],
    repeats: int,
    streams: Streams,
    *,
    optimizer: Optimizer = "fresh",
    teacher: Teacher | None = None,
    kept: Path | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> list[float]:
    """Accuracy (per cent, on the held-out split) of ``repeats`` networks trained from scratch through ``stages``.

    Args:
        network, optimizer, teacher: as :class:`TrainAndTest` has them.
        kept, made_by: as for :func:`evaluate_tests`.
    """
    how = TrainAndTest(data, network, stages, optimizer, teacher)
    return [each.figure for each in evaluate_tests(how, repeats, streams, kept=kept, made_by=made_by)]


def evaluate_tests(
    how: TrainAndTest,
    repeats: int,
    streams: Streams,
    *,
    kept: Path | None = None,
    made_by: Mapping[str, Any] | None = None,
    confusion: Confusion | None = None,
) -> list[Tests]:
    """As :func:`evaluate`, with all tests of each network.

    Args:
        kept: a file in which each network's are kept as soon as they are measured; those that a like evaluation left
            there are not measured again. Whoever has the accuracies elsewhere removes it.
        made_by: what they depend on beside the network, the stages and the streams; the teacher, where they have one.
        confusion: as for :func:`tests_of_each`.
    """

    def measure(some: range) -> list[list[float]]:
        what = f"evaluating, network {some[0] + 1}{'' if len(some) == 1 else f' to {some[-1] + 1}'} of {repeats}"
        found = tests_of_each(how, [streams.child("repeat", repeat) for repeat in some], what, confusion)
        return [[*each.tested, *each.held_out] for each in found]

    tests, at_once = how.tests, how.at_once
    width = tests if how.held_out is None else 2 * tests
    if kept is None:
        groups = (range(first, min(first + at_once, repeats)) for first in range(0, repeats, at_once))
        return [Tests.of(row, tests) for group in groups for row in measure(group)]
    key = {**(made_by or {}), "network": how.network, "lessons": digest(how.stages), "streams": streams.seed}
    key |= {} if how.optimizer == "fresh" else {"optimizer": how.optimizer}
    key |= {} if width == 1 else {"tests": tests, "numbers": width}
    rows = rows_in_pieces(kept, cache.fingerprint(key), repeats, width, measure, at_once)
    return [Tests.of(row, tests) for row in rows]


def accuracy_of_one(how: TrainAndTest, streams: Streams, what: str) -> float:
    """Accuracy (per cent) of one new network, as :func:`tests_of_each`."""
    return tests_of_each(how, [streams], what)[0].figure


def tests_of_each(
    how: TrainAndTest, streams: Sequence[Streams], what: str, confusion: Confusion | None = None
) -> list[Tests]:
    """The tests of new networks, one for each of ``streams``, trained at once.

    Args:
        what: what the progress bar says.
        confusion: counts what the networks call the images at their end; changes no accuracy.
    """
    data, stages, held_out = how.data, how.stages, how.held_out
    trained = [new_network(data, how.network, own("network")) for own in streams]
    found = [Tests([], []) for _ in trained]
    wanted = moments(training_passes(stages), how.tests)

    def after(passes: int) -> None:
        if passes in wanted:
            for one, own in zip(trained, found, strict=True):
                own.tested.append(accuracy(one, data.test))
                own.held_out.extend([] if held_out is None else [accuracy(one, held_out)])

    between = after if wanted else None
    train_through(trained, stages, streams, what=what, optimizer=how.optimizer, teacher=how.teacher, after=between)
    for one, own in zip(trained, found, strict=True):
        predicted = predictions(one, data.test)
        if confusion is not None:
            confusion.add(data.test.labels, predicted, accuracy(one, stages[-1][0]))
        own.tested.append(share_right(predicted, data.test.labels))
        own.held_out.extend([] if held_out is None else [accuracy(one, held_out)])
    return found


def in_pieces(path: Path, key: str, count: int, measure: Callable[[int], float]) -> list[float]:
    """``[measure(0), ..., measure(count - 1)]``, each kept in ``path`` under ``key`` as soon as it is there.

    Raises:
        SettingError: when the file is damaged.
    """
    return [
        row[0] for row in rows_in_pieces(path, key, count, 1, lambda numbers: [[measure(each)] for each in numbers])
    ]


def rows_in_pieces(
    path: Path, key: str, count: int, width: int, measure: Callable[[range], list[list[float]]], at_once: int = 1
) -> list[list[float]]:
    """As :func:`in_pieces`, of rows of ``width`` numbers, which are kept one after another.

    Args:
        measure: makes the rows of some numbers, ``at_once`` of them at most.

    Raises:
        SettingError: when the file is damaged.
    """
    kept = read_pieces(path)
    values = kept.get(key, [])[: count * width]
    done = len(values) // width
    if done:
        log.info("%d of %d networks are there already, in %s", done, count, path)
    for number in range(done, count, at_once):
        for row in measure(range(number, min(number + at_once, count))):
            values = [*values, *row]
        files.write_json(path, {**kept, key: values})
    return [values[number * width : (number + 1) * width] for number in range(count)]


def read_pieces(path: Path) -> dict[str, list[float]]:
    """What :func:`in_pieces` kept.

    Raises:
        SettingError: when the file is damaged.
    """
    found: dict[str, list[float]] = validate(path, files.read_json(path), Pieces) if path.exists() else {}
    return found
