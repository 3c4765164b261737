"""Train the expert trajectories ahead of distillation: ``python scripts/buffer.py method=mtt dataset=cifar10``."""

from typing import Any

from cmidd.cli import Admitted, app
from cmidd.devices import pick_device
from cmidd.engine import using
from cmidd.errors import SettingError
from cmidd.experts import Experts
from cmidd.objectives import OBJECTIVES
from cmidd.objectives.mtt import epochs_read
from cmidd.run import fitting_engine, make_context
from cmidd.settings import Settings


def main(settings: Settings, arguments: dict[str, Any], admitted: Admitted) -> None:
    if "experts" not in arguments:
        raise SettingError(f"method={settings.method['name']}: has no expert trajectories; use method=mtt")
    context = make_context(settings, pick_device(settings.device))
    OBJECTIVES[settings.method["name"]].refuse(arguments, context.blank_network())
    reads = epochs_read(arguments["max_start_epoch"], arguments["expert_epochs"])
    with using(fitting_engine(settings, arguments, context)):
        Experts(context, arguments["experts"].reaching(reads))


if __name__ == "__main__":
    app(main)
