"""Baselines: random real images, those that a rule chooses, and the whole data set."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from cmidd.compute.recipe import stated, with_hard_labels
from cmidd.core.context import Context
from cmidd.evaluation.chosen_images import KINDS, RULES, chosen_images
from cmidd.evaluation.evaluate import TrainAndTest, accuracy_of_one, in_pieces
from cmidd.evaluation.protocols import EvaluationProtocol, Kind
from cmidd.utils import cache, clock, files, locks
from cmidd.utils.checking import validate
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Accuracies, Count, Name

log = logging.getLogger(__name__)


class Baseline(TypedDict):
    accuracies: Accuracies


class BaselineRecord(Baseline):
    """What ``scripts/baselines.py`` leaves; ``ipc`` and ``method`` (whose protocol it is) are None for ``whole``.

    Accuracy r is of a network trained on set r modulo ``sets``; ``images`` has a line for each set, the numbers of its
    training images (those of the split that is trained on, in the order of the data set). Earlier versions, and
    ``whole``, say neither.
    """

    baseline: Kind
    dataset: str
    method: Name | None
    ipc: Count | None
    tested_on: Literal["test", "validation"]
    differs_from_recipe: dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]]
    sets: NotRequired[Count]
    images: NotRequired[list[Annotated[str, Field(pattern=r"^\d+( \d+)*$")]]]


def baselines(context: Context, protocol: EvaluationProtocol, ipc: int) -> dict[str, list[float]]:
    """Accuracies of the protocol's baselines, of ``ipc`` real images per class each but for ``whole``; ``random`` draws
    new ones for each network.

    They do not depend on the run's seed, so they are measured once and kept under ``buffers/baselines``, each network
    as soon as it is measured. Where the protocol has any, one that is there from before comes along.
    """
    found: dict[str, list[float]] = {}
    for kind in KINDS:
        path, _ = baseline_file(context, protocol, ipc, kind)
        if kind in protocol.baselines:
            _make_missing(context, protocol, ipc, kind)
        if kind in protocol.baselines or (protocol.baselines and path.exists()):
            found[kind] = validate(path, files.read_json(path), Baseline)["accuracies"]
    return found


def baseline_file(context: Context, protocol: EvaluationProtocol, ipc: int, kind: str) -> tuple[Path, dict[str, Any]]:
    """Where the accuracies of a baseline are kept, and what they depend on."""
    shared = {**context.made_by, "network": context.network, "repeats": protocol.repeats}
    if kind == "whole":
        made_by = {**shared, "training": stated(protocol.whole)}
    else:
        training = stated(with_hard_labels(protocol.training))
        made_by = {**shared, "data": context.data_key, "ipc": ipc, "training": training}
    if kind in RULES:
        made_by["features"] = asdict(protocol.features)
    return cache.kept(context.buffers / "baselines", f"{context.data.name}_{kind}_", ".json", made_by), made_by


def _make_missing(context: Context, protocol: EvaluationProtocol, ipc: int, kind: str) -> None:
    path, made_by = baseline_file(context, protocol, ipc, kind)

    def make(_: list[int]) -> None:
        log.info("measuring the baseline %r, once for all runs", kind)
        with clock.timed("baselines"):
            values = _measure_baseline(context, protocol, ipc, kind, files.unfinished(path))
        files.write_json(path, {"accuracies": values, "made_by": made_by})

    locks.make_missing([path], make)
    files.remove_unfinished(path)


def _measure_baseline(context: Context, protocol: EvaluationProtocol, ipc: int, kind: str, kept: Path) -> list[float]:
    streams, data = Streams(0).child(kind), context.data
    sets = None if kind == "whole" else chosen_images(context, protocol, ipc, kind)

    def measure(repeat: int) -> float:
        what = f"baseline {kind}, network {repeat + 1} of {protocol.repeats}"
        if sets is None:
            own, stage = streams.child("repeat", repeat), (data.train, protocol.whole)
        else:
            images = data.train[sets[repeat % len(sets)].to(data.device)]
            own, stage = streams.child("draw", repeat).child("repeat", 0), (images, with_hard_labels(protocol.training))
        return accuracy_of_one(TrainAndTest(data, context.network, [stage]), own, what)

    return in_pieces(kept, kind, protocol.repeats, measure)
