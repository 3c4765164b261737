"""All results on one HTML page: ``python scripts/report.py``."""

import logging
from pathlib import Path
from typing import Any

from cmidd import files
from cmidd.cli import hydra_app, recipe_weight
from cmidd.report import page
from cmidd.results import cells, read_results
from cmidd.table import make_table, read_layout

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    roots = config["results_root"]
    results = read_results([roots] if isinstance(roots, str) else roots)
    table = make_table(*read_layout(config["table"]), cells(results), recipe_weight)
    files.write_text(Path(config["to"]), page(table, results))
    log.info("%d runs, written: %s", len(results), config["to"])


if __name__ == "__main__":
    hydra_app(main, "standalone/report")
