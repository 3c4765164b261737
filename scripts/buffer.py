"""Train the expert trajectories ahead of distillation: ``python scripts/buffer.py method=mtt dataset=cifar10``."""

from typing import Any

from cmidd.cli import Admitted, app
from cmidd.devices import pick_device
from cmidd.errors import SettingError
from cmidd.experts import Experts
from cmidd.run import make_context
from cmidd.settings import Settings


def main(settings: Settings, arguments: dict[str, Any], admitted: Admitted) -> None:
    if "experts" not in arguments:
        raise SettingError(f"method={settings.method['name']}: has no expert trajectories; use method=mtt")
    Experts(make_context(settings, pick_device(settings.device)), arguments["experts"])


if __name__ == "__main__":
    app(main)
