"""Train the expert trajectories ahead of distillation: ``python scripts/buffer.py method=mtt dataset=cifar10``."""

from cmidd.buffers.experts import Experts
from cmidd.cli.app import Admitted, app
from cmidd.compute.devices import pick_device
from cmidd.compute.engine import using
from cmidd.methods import METHODS
from cmidd.runs.build import expert_settings, fitting_engine, make_context
from cmidd.runs.settings import Settings
from cmidd.utils.errors import SettingError


def main() -> None:
    """Run the command."""
    app(train)


def train(settings: Settings, admitted: Admitted) -> None:
    """Train the experts of a method that has some."""
    experts, name = expert_settings(settings), settings.method["name"]
    if experts is None:
        raise SettingError(f"method={name}: has no expert trajectories; use method=mtt")
    context = make_context(settings, pick_device(settings.device))
    METHODS[name].refuse(settings.arguments, context.blank_network())
    with using(fitting_engine(settings, context)):
        Experts(context, experts)
