"""All results on one HTML page: ``python scripts/report.py``."""

import logging
from pathlib import Path
from typing import Any

from cmidd import files
from cmidd.cli import hydra_app, recipe_strength
from cmidd.report import page
from cmidd.results import cells, read_baselines, read_results
from cmidd.standalone import ReportSettings, read_standalone
from cmidd.table import make_table, read_layout

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    settings = read_standalone(ReportSettings, config)
    layout = read_layout(settings.table)
    results = read_results(settings.results_root)
    table = make_table(*layout, cells(results), recipe_strength, read_baselines(settings.results_root))
    files.write_text(Path(settings.to), page(table, results))
    log.info("%d runs, written: %s", len(results), settings.to)


if __name__ == "__main__":
    hydra_app(main, "standalone/report")
