"""The record of baselines that are measured alone."""

import logging
import statistics
from collections.abc import Mapping
from typing import Any

from cmidd.core.context import Context
from cmidd.evaluation.baselines import baseline_file, baselines
from cmidd.runs.settings import Settings
from cmidd.utils import files
from cmidd.utils.provenance import provenance
from cmidd.utils.text import summary

log = logging.getLogger(__name__)


def record_baselines(settings: Settings, context: Context, differs_from_recipe: Mapping[str, list[Any]]) -> None:
    """Measure the baselines that the settings name, and those alone; log them, and write each into
    ``<results_root>/<dataset>/baselines`` with what it depends on.

    Args:
        differs_from_recipe: what the settings change, ``{setting: [this, the recipe's]}``.
    """
    found = baselines(context, settings.evaluation, settings.ipc)
    for kind in settings.evaluation.baselines:
        cached, made_by = baseline_file(context, settings.evaluation, settings.ipc, kind)
        values, folder = found[kind], settings.folder.parents[3]
        method, ipc = (settings.method["name"], settings.ipc) if kind == "random" else (None, None)
        parts = (kind, method, ipc and f"ipc{ipc}", cached.stem.rpartition("_")[2])
        path = folder / "baselines" / f"{'_'.join(part for part in parts if part)}.baseline.json"
        of_it = ("dataset.", "engine.", "network.", f"evaluation.{'training' if kind == 'random' else 'whole'}.")
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
                if name.startswith(of_it) or name == "evaluation.repeats"
            },
            **provenance(context.data.device),
        }
        files.write_json(path, record)
        what = "the whole data set" if kind == "whole" else f"{ipc} random images per class, as {method} evaluates"
        log.info(
            "%s, %s: %s per cent on %s, written: %s", folder.name, what, summary(values), record["tested_on"], path
        )
