"""The worth of synthetic sets, ours or another's, to networks: each is trained from scratch, and kept as it ends."""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from cmidd.analysis.evaluations.protocol import Asked, wants_teacher
from cmidd.analysis.evaluations.scores import refuse_unfit_for_scores, with_scores
from cmidd.analysis.evaluations.settings import Request
from cmidd.analysis.evaluations.subject import load_subject
from cmidd.analysis.evaluations.table import MeasuredSet, Row, of_reordered, places_of_tables, write_tables
from cmidd.compute import engine
from cmidd.compute.devices import pick_device
from cmidd.compute.losses import refuse_unlabelled
from cmidd.core.context import blank_of
from cmidd.evaluation.class_order import Confusion, permuted
from cmidd.evaluation.evaluate import TrainAndTest, evaluate_tests
from cmidd.evaluation.train_on_set import digest, stages_of, training_passes
from cmidd.runs.teaching import refuse_unfit_teachers, teacher_of
from cmidd.synthetic.places import place_of
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

log = logging.getLogger(__name__)


def evaluate_sets(request: Request) -> list[Path]:
    """Evaluate every network on every set, log the table, and write it as JSON and Markdown.

    Each network is kept beside its set as soon as it is measured, until the table is written.

    Raises:
        SettingError: before the first network is trained, when a set or a network does not fit.
    """
    places = [place_of(Path(path)).resolve() for path in request.own.synthetic]
    tables = places_of_tables(request.own, places)
    kept = [place.with_name(f"{place.name if place.is_dir() else place.stem}.evaluating.json") for place in places]
    measured = [measure(request, asked, where) for asked, where in zip(subjects(request), kept, strict=True)]
    paths = write_tables(request.own, measured, tables)
    for path in kept:
        path.unlink(missing_ok=True)
    log.info("\nwritten: %s, %s", *paths)
    return paths


def subjects(request: Request, loaded: Mapping[str, SyntheticSet] | None = None) -> Iterator[Asked]:
    """The sets in turn, after all of them were found to fit: of several only one data set is held at a time.

    Args:
        loaded: sets that are in memory, by what ``synthetic`` calls them.

    Raises:
        SettingError: for the first set that does not fit, or a network that does not.
    """
    device = pick_device(request.run.device)

    def read(path: str) -> Asked:
        asked = load_subject(request, path, device, (loaded or {}).get(path))
        _refuse_unfit(request, asked)
        return asked

    first, *others = request.own.synthetic
    asked = read(first)
    for path in others:
        read(path)
    yield asked
    for path in others:
        yield read(path)


def measure(request: Request, asked: Asked, kept: Path | None = None) -> MeasuredSet:
    """Train and test every network on one set.

    Args:
        kept: as for :func:`cmidd.evaluation.evaluate.evaluate`; in what was measured before no permuted classes are
            looked for.
    """
    subject, protocol = asked.subject, asked.protocol
    data, stages = subject.data, stages_of(subject.synthetic, subject.recipe)
    made_by: dict[str, Any] = {"data": {"tested on": digest([(data.test, subject.recipe)])}}
    if subject.held_out is not None:
        made_by["held out"] = digest([(subject.held_out, subject.recipe)])
    rows = []
    if subject.reordered:
        log.warning("%s", of_reordered(data))
    with _engine(request, data.device) as label:
        made_by |= {} if label == "float32" else {"engine": label}
        teacher, about = teacher_of(asked.settings, subject) if wants_teacher(request, asked) else (None, None)
        made_by |= {} if about is None else {"teacher": about}
        for title, options in networks_of(request, asked).items():
            _warn_of_batch_norm(title, options, asked)
            log.info("training %d x %s", protocol.repeats, title)
            confusion = Confusion.of(data.num_classes)
            how = TrainAndTest(
                data, options, stages, subject.optimizer, teacher, protocol.tests, held_out=subject.held_out
            )
            streams = Streams(request.run.seed).child(title)
            tests = evaluate_tests(how, protocol.repeats, streams, kept=kept, made_by=made_by, confusion=confusion)
            if (moved := permuted(confusion)) is not None:
                log.warning("%s: %s", title, moved.said(data.classes))
            rows.append(row := Row(title, tests, moved))
            if request.own.scores:
                found = with_scores(request, asked, title, options, row.accuracies, teacher, kept=kept, made_by=made_by)
                rows[-1] = dataclasses.replace(row, scores=found)
    return MeasuredSet(asked, stages, rows, about)


def networks_of(request: Request, asked: Asked) -> dict[str, dict[str, Any]]:
    """The options of every network, by its title; the set's own network keeps its options.

    Raises:
        SettingError: when a network was typed that is not among those of ``networks``.
    """
    own, changed = asked.subject.network, request.below("network")
    if request.own.networks is None:
        words = [f"{name.partition('.')[2]}={request.typed[name]}" for name in changed]
        return {" ".join([own["name"], *words]): own}
    found = {}
    for given in request.own.networks:
        options = {"name": given} if isinstance(given, str) else given
        title = options["name"] if isinstance(given, str) else " ".join(f"{k}={v}" for k, v in given.items())
        of_maker = asked.networks.get(given, {}) if isinstance(given, str) else {}
        found[title] = own if options == {"name": own["name"]} else {**options, **of_maker}
    if own not in found.values() and (typed := [name for name in ("network", *changed) if name in request.typed]):
        raise SettingError(
            f"{request.value(typed[0])}: is of {own['name']}, which is not among networks={list(found)}; add "
            f"{own['name']} there, or remove {typed[0]}"
        )
    return found


def _refuse_unfit(request: Request, asked: Asked) -> None:
    """Refuse what would end an evaluation after others have been trained."""
    data, protocol = asked.subject.data, asked.protocol
    networks = networks_of(request, asked)
    for options in networks.values():
        blank_of(data, options)
    stages = stages_of(asked.subject.synthetic, asked.subject.recipe)
    for images, recipe in stages:
        refuse_unlabelled(recipe, images.soft, is_taught=asked.taught)
    refuse_unfit_for_scores(request, asked, len(networks))
    if wants_teacher(request, asked):
        refuse_unfit_teachers(asked.settings, data, asked.subject.network)
    passes = training_passes(stages)
    if protocol.tests > passes:
        raise SettingError(
            f"evaluation.tests={protocol.tests}: networks go {passes} times over the set, and are tested once after "
            f"each at most; choose at most {passes}"
        )
    if protocol.selection == "held_out" and protocol.tests == 1:
        raise SettingError(
            "evaluation.selection=held_out: chooses among several tests of a network, and evaluation.tests=1; give "
            "evaluation.tests=10, or evaluation.selection=last"
        )


@contextlib.contextmanager
def _engine(request: Request, device: torch.device) -> Iterator[str]:
    """Compute as the engine that was typed says, or as always, but for as many networks at once as a GPU takes; yields
    what caches call it.
    """
    typed = bool(request.below("engine"))
    own = engine.fitted(dataclasses.replace(engine.current(), at_once="auto"), device)
    with engine.using(engine.choose(request.run.engine, device, 0.0) if typed else own):
        yield engine.current().label


def _warn_of_batch_norm(title: str, options: dict[str, Any], asked: Asked) -> None:
    data = asked.subject.data
    has_it = any(isinstance(module, torch.nn.BatchNorm2d) for module in blank_of(data, options).modules())
    if has_it and len(asked.subject.synthetic.decode()) <= data.num_classes:
        log.warning("network=%s: batch norm at one image per class trains on few, unlike images", title)
