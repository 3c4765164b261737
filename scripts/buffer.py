"""Train the expert trajectories ahead of distillation: ``python scripts/buffer.py method=mtt dataset=cifar10``."""

from typing import Any

from cmidd.cli import Admitted, app
from cmidd.devices import pick_device
from cmidd.engine import using
from cmidd.errors import SettingError
from cmidd.experts import Experts
from cmidd.run import fitting_engine, make_context
from cmidd.settings import Settings


def main(settings: Settings, arguments: dict[str, Any], admitted: Admitted) -> None:
    if "experts" not in arguments:
        raise SettingError(f"method={settings.method['name']}: has no expert trajectories; use method=mtt")
    context = make_context(settings, pick_device(settings.device))
    with using(fitting_engine(settings, arguments, context)):
        Experts(context, arguments["experts"])


if __name__ == "__main__":
    app(main)
