"""Write all results on one HTML page, to look at or to mail around.

Examples:
    cmidd report
    cmidd report table=digits
    cmidd report 'results_root=[results,/shared/results]'
    cmidd report to=page.html missing=true
"""

import logging
from pathlib import Path
from typing import Any

from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.report.page import page
from cmidd.analysis.report.table import with_found
from cmidd.analysis.results import read_results
from cmidd.analysis.settings import ReportSettings, read_standalone
from cmidd.analysis.tables.table import make_table, read_layout
from cmidd.cli.compose import recipe_strength
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from cmidd.utils.text import in_bytes

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    """Write the page of all results."""
    settings = read_standalone(ReportSettings, config)
    layout, to, root = read_layout(settings.table), Path(settings.to), settings.results_root[0]
    to = to if to.suffix.lower() in (".html", ".htm") else Path(f"{to}.html")
    results, baselines = read_results(settings.results_root), read_baselines(settings.results_root)
    found = cells(results)
    layout = with_found(*layout, found, baselines)
    table = make_table(*layout, found, _recipe_strength, baselines, root)
    files.write_text(to, page(table, results, settings.missing, to.parent, root))
    log.info("%d runs, written: %s, %s", len(results), to, in_bytes(to.stat().st_size))


def _recipe_strength(method: str, dataset: str, ipc: int) -> str:
    """The recipe's strength of CMI; none where there is no recipe, as of a data set of the user's own."""
    try:
        return recipe_strength(method, dataset, ipc)
    except SettingError:
        return ""
