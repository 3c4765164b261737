"""Measure baselines alone: ``python scripts/baselines.py method=dm dataset=cifar10 'evaluation.baselines=[whole]'``."""

from cmidd.cli.app import Admitted, app, differs_from_recipe
from cmidd.compute.devices import pick_device
from cmidd.compute.engine import using
from cmidd.runs.baseline_record import record_baselines
from cmidd.runs.build import fitting_engine, make_context
from cmidd.runs.settings import Settings
from cmidd.utils.errors import SettingError


def main() -> None:
    """Run the command."""
    app(measure)


def measure(settings: Settings, admitted: Admitted) -> None:
    """Measure the baselines that the settings name."""
    if not settings.evaluation.baselines:
        raise SettingError("evaluation.baselines=[]: nothing to measure; give [random], [whole] or [random,whole]")
    context = make_context(settings, pick_device(settings.device))
    with using(fitting_engine(settings, context)):
        record_baselines(settings, context, differs_from_recipe(settings))
