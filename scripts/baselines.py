"""Measure baselines alone: ``python scripts/baselines.py method=dm dataset=cifar10 'evaluation.baselines=[whole]'``."""

from typing import Any

from cmidd.cli import Admitted, app, differs_from_recipe
from cmidd.devices import pick_device
from cmidd.engine import using
from cmidd.errors import SettingError
from cmidd.run import fitting_engine, make_context, record_baselines
from cmidd.settings import Settings


def main(settings: Settings, arguments: dict[str, Any], admitted: Admitted) -> None:
    if not settings.evaluation.baselines:
        raise SettingError("evaluation.baselines=[]: nothing to measure; give [random], [whole] or [random,whole]")
    context = make_context(settings, pick_device(settings.device))
    with using(fitting_engine(settings, arguments, context)):
        record_baselines(settings, context, differs_from_recipe(settings))


if __name__ == "__main__":
    app(main)
