"""The record of baselines that are measured alone."""

import logging
import statistics
from collections.abc import Mapping
from typing import Any

from cmidd.core.context import Context
from cmidd.evaluation.baselines import baseline_file, baselines
from cmidd.evaluation.chosen_images import RULES, chosen_images
from cmidd.runs.settings import Settings
from cmidd.utils import files
from cmidd.utils.provenance import provenance
from cmidd.utils.text import summary

log = logging.getLogger(__name__)


def record_baselines(settings: Settings, context: Context, differs_from_recipe: Mapping[str, list[Any]]) -> None:
    """Measure the baselines that the settings name, and those alone; log them, and write each into
    ``<results_root>/<dataset>/baselines`` with what it depends on, and which images it has.

    Args:
        differs_from_recipe: what the settings change, ``{setting: [this, the recipe's]}``.
    """
    found = baselines(context, settings.evaluation, settings.ipc)
    for kind in settings.evaluation.baselines:
        cached, made_by = baseline_file(context, settings.evaluation, settings.ipc, kind)
        values, folder = found[kind], settings.folder.parents[3]
        method, ipc = (None, None) if kind == "whole" else (settings.method["name"], settings.ipc)
        parts = (kind, method, ipc and f"ipc{ipc}", cached.stem.rpartition("_")[2])
        path = folder / "baselines" / f"{'_'.join(part for part in parts if part)}.baseline.json"
        record = {
            "baseline": kind,
            "dataset": folder.name,
            "method": method,
            "ipc": ipc,
            "mean": statistics.fmean(values),
            "spread": statistics.stdev(values) if len(values) > 1 else None,
            "n": len(values),
            "accuracies": values,
            "tested_on": context.data.held_out,
            "read_from": context.data.origin or "published files",
            "made_by": made_by,
            "differs_from_recipe": {
                name: list(both)
                for name, both in differs_from_recipe.items()
                if name.startswith(_of_it(kind)) or name == "evaluation.repeats"
            },
            **_sets(settings, context, kind),
            **provenance(context.data.device),
        }
        files.write_json(path, record)
        log.info(
            "%s, %s: %s per cent on %s, written: %s",
            *(folder.name, _in_words(settings, kind, record.get("sets")), summary(values)),
            *(record["tested_on"], path),
        )


def _of_it(kind: str) -> tuple[str, ...]:
    """How the settings begin that a baseline depends on."""
    training = f"evaluation.{'whole' if kind == 'whole' else 'training'}."
    return "dataset.", "engine.", "network.", training, *(["evaluation.features."] if kind in RULES else [])


def _sets(settings: Settings, context: Context, kind: str) -> dict[str, Any]:
    """How many sets of images a baseline has, and the images of each, all in one line."""
    if kind == "whole":
        return {}
    sets = chosen_images(context, settings.evaluation, settings.ipc, kind)
    return {"sets": len(sets), "images": [" ".join(map(str, images.tolist())) for images in sets]}


def _in_words(settings: Settings, kind: str, sets: int | None) -> str:
    if kind == "whole":
        return "the whole data set"
    images = f"{settings.ipc} random images per class"
    if kind in RULES:
        images = f"{settings.ipc} images per class by {kind} ({sets} {'set' if sets == 1 else 'sets'})"
    return f"{images}, as {settings.method['name']} evaluates"
