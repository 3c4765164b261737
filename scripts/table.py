"""The paper's table with our results in it: ``python scripts/table.py``."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cmidd import files
from cmidd.cli import hydra_app, recipe_strength
from cmidd.devices import pick_device
from cmidd.records import summary
from cmidd.results import Result, cells, read_baselines, read_results
from cmidd.standalone import TableSettings, read_standalone
from cmidd.table import as_csv, make_table, markdown, read_layout
from cmidd.table_latex import latex
from cmidd.verify import sample, verify

log = logging.getLogger(__name__)


def main(config: dict[str, Any]) -> None:
    settings = read_standalone(TableSettings, config)
    layout = read_layout(settings.table)
    results = read_results(settings.results_root)
    table = make_table(*layout, cells(results), recipe_strength, read_baselines(settings.results_root))
    to = Path(settings.to)
    for suffix, text in (("md", markdown(table)), ("tex", latex(table)), ("csv", as_csv(table))):
        files.write_text(to.with_name(f"{to.name}.{suffix}"), text)
    log.info("%s\nwritten: %s.md, %s.tex, %s.csv", markdown(table), to, to, to)
    if settings.verify:
        verify_some(results, settings)


def verify_some(results: list[Result], settings: TableSettings) -> None:
    """Evaluate stored sets once more; exit code 1 when one is not worth what its record says."""
    device = pick_device(settings.device)
    checks = [verify(result, device, data=asdict(settings.data)) for result in sample(results, settings.verify)]
    for check in checks:
        log.info("%s: %s, now %s: %s", check.path, summary(check.stored), summary(check.measured), check.verdict)
    if any(check.verdict == "DIFFERENT" for check in checks):
        sys.exit(1)


if __name__ == "__main__":
    sys.argv = ["verify=3" if word == "--verify" else word for word in sys.argv]
    hydra_app(main, "standalone/table")
