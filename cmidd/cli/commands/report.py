"""Write all results on one HTML page, to look at or to mail around.

Examples:
    cmidd report
    cmidd report table=digits
    cmidd report 'results_root=[results,/shared/results]'
    cmidd report to=page.html
"""

import logging
from pathlib import Path
from typing import Any

from cmidd.analysis.cells import cells, read_baselines
from cmidd.analysis.report_page import page
from cmidd.analysis.results import read_results
from cmidd.analysis.settings import ReportSettings, read_standalone
from cmidd.analysis.table import make_table, read_layout
from cmidd.cli.compose import recipe_strength
from cmidd.utils import files

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    """Write the page of all results."""
    settings = read_standalone(ReportSettings, config)
    layout = read_layout(settings.table)
    results = read_results(settings.results_root)
    table = make_table(
        *layout, cells(results), recipe_strength, read_baselines(settings.results_root), settings.results_root[0]
    )
    files.write_text(Path(settings.to), page(table, results))
    log.info("%d runs, written: %s", len(results), settings.to)
