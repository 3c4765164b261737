"""Write the paper's table with our results in it, as Markdown, LaTeX and CSV.

A cell without a run is a dash; below the table is the command that fills it.

Examples:
    cmidd table                                             # Table 1 from results/
    cmidd table table=digits                                # or fashion_mnist, cifar, baselines, scores
    cmidd table 'results_root=[results,results/evidence]'
    cmidd table table=digits --verify                       # and evaluate three of the stored sets once more
"""

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.results import Result, read_results
from cmidd.analysis.settings import TableSettings, read_standalone
from cmidd.analysis.tables.latex import latex
from cmidd.analysis.tables.scores import KIND, read_scored, scores_csv, scores_markdown
from cmidd.analysis.tables.table import make_table, read_layout
from cmidd.analysis.tables.text import as_csv, markdown
from cmidd.analysis.verify import sample, verify
from cmidd.cli.compose import recipe_strength
from cmidd.compute.devices import pick_device
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from cmidd.utils.text import summary

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    """Write the table in every form, and check some of its sets."""
    settings = read_standalone(TableSettings, config)
    if settings.table.get("kind") == KIND:
        return write_scores(settings)
    layout = read_layout(settings.table)
    results = read_results(settings.results_root)
    made = make_table(
        *layout, cells(results), recipe_strength, read_baselines(settings.results_root), settings.results_root[0]
    )
    to = Path(settings.to)
    for suffix, text in (("md", markdown(made)), ("tex", latex(made)), ("csv", as_csv(made))):
        files.write_text(to.with_name(f"{to.name}.{suffix}"), text)
    log.info("%s\nwritten: %s.md, %s.tex, %s.csv", markdown(made), to, to, to)
    if settings.verify:
        shown = {column.dataset for column in layout[0]}  # Others' data may not be here.
        verify_some([result for result in results if result.dataset in shown], settings)


def write_scores(settings: TableSettings) -> None:
    """Write the table of scores, whose rows are what is there."""
    if settings.verify:
        raise SettingError(f"verify={settings.verify}: table=scores evaluates no set again; leave it out")
    scored, to = read_scored(settings.results_root), Path(settings.to)
    for suffix, text in (("md", scores_markdown(scored)), ("csv", scores_csv(scored))):
        files.write_text(to.with_name(f"{to.name}.{suffix}"), text)
    log.info("%s\nwritten: %s.md, %s.csv", scores_markdown(scored), to, to)


def verify_some(results: list[Result], settings: TableSettings) -> None:
    """Evaluate stored sets once more; exit code 1 when one is not worth what its record says."""
    device, chosen = pick_device(settings.device), sample(results, settings.verify)
    if not chosen:
        log.warning("verify=%d: no set of this table's runs is kept; nothing was evaluated again", settings.verify)
    checks = [verify(result, device, data=asdict(settings.data)) for result in chosen]
    for check in checks:
        log.info("%s: %s, now %s: %s", check.path, summary(check.stored), summary(check.measured), check.verdict)
    if any(check.verdict == "DIFFERENT" for check in checks):
        sys.exit(1)
