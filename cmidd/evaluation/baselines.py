"""Baselines: random real images, and the whole data set."""

import logging
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from cmidd.compute.recipe import stated
from cmidd.core.context import Context
from cmidd.evaluation.evaluate import accuracy_of_one, in_pieces
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.utils import cache, clock, files, locks
from cmidd.utils.checking import validate
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Accuracies, Count, Name

log = logging.getLogger(__name__)
KINDS: tuple[Literal["random", "whole"], ...] = ("random", "whole")


class Baseline(TypedDict):
    accuracies: Accuracies


class BaselineRecord(Baseline):
    """What ``scripts/baselines.py`` leaves; ``ipc`` and ``method`` (whose protocol it is) are None for ``whole``."""

    baseline: Literal["random", "whole"]
    dataset: str
    method: Name | None
    ipc: Count | None
    tested_on: Literal["test", "validation"]
    differs_from_recipe: dict[str, Annotated[list[Any], Field(min_length=2, max_length=2)]]


def baselines(context: Context, protocol: EvaluationProtocol, ipc: int) -> dict[str, list[float]]:
    """Accuracies of the protocol's baselines; ``random`` draws ``ipc`` new real images per class for each network.

    They do not depend on the run's seed, so they are measured once and kept under ``buffers/baselines``, each network
    as soon as it is measured. Where the protocol has any, one that is there from before comes along.
    """
    found: dict[str, list[float]] = {}
    for kind in KINDS:
        path, made_by = baseline_file(context, protocol, ipc, kind)
        if kind in protocol.baselines:
            with locks.locked(path, wait=True):
                if not path.exists():
                    log.info("measuring the baseline %r, once for all runs", kind)
                    with clock.timed("baselines"):
                        values = _measure_baseline(context, protocol, ipc, kind, files.unfinished(path))
                    files.write_json(path, {"accuracies": values, "made_by": made_by})
                files.remove_unfinished(path)
        if kind in protocol.baselines or (protocol.baselines and path.exists()):
            found[kind] = validate(path, files.read_json(path), Baseline)["accuracies"]
    return found


def baseline_file(context: Context, protocol: EvaluationProtocol, ipc: int, kind: str) -> tuple[Path, dict[str, Any]]:
    """Where the accuracies of a baseline are kept, and what they depend on."""
    shared = {**context.made_by, "network": context.network, "repeats": protocol.repeats}
    if kind == "random":
        made_by = {**shared, "ipc": ipc, "training": stated(protocol.training)}
    else:
        made_by = {**shared, "training": stated(protocol.whole)}
    return context.buffers / "baselines" / f"{context.data.name}_{kind}_{cache.fingerprint(made_by)}.json", made_by


def _measure_baseline(context: Context, protocol: EvaluationProtocol, ipc: int, kind: str, kept: Path) -> list[float]:
    streams, data = Streams(0).child(kind), context.data

    def measure(repeat: int) -> float:
        what = f"baseline {kind}, network {repeat + 1} of {protocol.repeats}"
        if kind == "whole":
            own, stage = streams.child("repeat", repeat), (data.train, protocol.whole)
        else:
            draw = streams.child("draw", repeat)
            own, stage = draw.child("repeat", 0), (data.class_batches(ipc, draw("images")), protocol.training)
        return accuracy_of_one(data, context.network, [stage], own, what)

    return in_pieces(kept, kind, protocol.repeats, measure)
