"""Train ahead what a method matches with: experts of MTT and DATM, networks of NCFM.

Several processes at once share the work.

Examples:
    cmidd buffer method=mtt dataset=cifar10
    cmidd buffer method=mtt dataset=digits method.experts.count=20
    cmidd buffer method=mtt dataset=cifar100 ipc=50
    cmidd buffer method=mtt dataset=cifar10 recipe=mtt_cifar10_no_zca buffers_root=/scratch/buffers
"""

from cmidd.buffers.experts import Experts
from cmidd.cli.admission import Admission
from cmidd.compute.devices import pick_device
from cmidd.compute.engine import using
from cmidd.methods import METHODS
from cmidd.runs.build import expert_settings, fitting_engine, make_context
from cmidd.runs.settings import Settings
from cmidd.utils.errors import SettingError


def main(settings: Settings, admission: Admission) -> None:
    """Train the experts of a method that has some."""
    experts, name = expert_settings(settings), settings.method["name"]
    if experts is None:
        able = ", ".join(other for other, kind in METHODS.items() if kind.experts is not None)
        raise SettingError(f"method={name}: reads no trained networks; use method={able}")
    context = make_context(settings, pick_device(settings.device))
    METHODS[name].refuse(settings.arguments, context.blank_network())
    with using(fitting_engine(settings, context)):
        Experts(context, experts)
