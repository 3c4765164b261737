"""The end of a run in words: what its set is worth, how long each part took, where the files are."""

import logging
from pathlib import Path

from cmidd.loop.balance import in_words
from cmidd.methods import METHODS
from cmidd.runs.record import RunRecord
from cmidd.utils import clock
from cmidd.utils.text import command_line, duration, summary

log = logging.getLogger(__name__)
# As the record has them, over all starts of the run.
RECORDED = ("distillation", "evaluation")


def report(folder: Path, record: RunRecord) -> None:
    """Log where the files are, and what the set is worth beside its baselines."""
    best, compared = record.best, record.baselines or {}
    assert best is not None
    rows = {
        f"distilled, last (iteration {record.last['iteration']})": record.last["accuracies"],
        **{f"baseline, {kind}": values for kind, values in compared.items()},
    }
    if best["iteration"] != record.last["iteration"]:
        rows[f"best on {record.tested_on} (iteration {best['iteration']})"] = best["accuracies"]
    lines = [f"{what:<36} {summary(values)}" for what, values in rows.items()]
    names = {"images": "synthetic.safetensors", "picture": "synthetic.png", "record": "result.json"}
    lines += [f"{what:<36} {folder / name}" for what, name in names.items()]
    log.info("accuracy on %s, per cent:\n%s", record.tested_on, "\n".join(lines))
    for stage, weights in enumerate(record.weights or [], 1):
        for name, measured in weights.items():
            log.info("measured in stage %d: %s", stage, in_words(name, measured))
    if record.declined:
        why = METHODS[record.settings["method"]["name"]].declines
        log.info("%d of %d iterations took no step: %s", record.declined, record.last["iteration"], why)
    if times := in_parts(record, clock.taken()):
        log.info("time: %s", times)
    if compared and "whole" not in compared:
        log.info(
            "the whole data set has not been measured; %s does it with the same settings and "
            "'evaluation.baselines=[whole]'",
            command_line("baselines"),
        )


def in_parts(record: RunRecord, taken: dict[str, float]) -> str:
    """How long each part of a run took, in words: distillation and evaluation in all its starts, the others, which are
    ``taken`` by this one, in the last. A part of less than a second is left out.
    """
    others = {part: seconds for part, seconds in taken.items() if part not in RECORDED}
    compiling = others.pop("compiling", 0.0)
    parts = {**others, "distillation": record.seconds or 0.0, "evaluation": record.evaluation_seconds or 0.0}
    said = [f"{part} {duration(seconds)}" for part, seconds in parts.items() if seconds >= 1]
    if len(said) > 1:
        said.append(f"in all {duration(sum(parts.values()))}")
    if compiling >= 1:
        said.append(f"of which compiling {duration(compiling)}")
    return ", ".join(said)
