"""Measure what a set is compared with: random real images, and the whole data set.

Examples:
    cmidd baselines method=dm dataset=cifar10
    cmidd baselines method=dm dataset=cifar10 'evaluation.baselines=[whole]' # hours on a CPU
    cmidd baselines method=dc dataset=cifar10 ipc=1 evaluation.repeats=20
    cmidd baselines method=mtt dataset=digits 'evaluation.baselines=[random,whole]'
"""

from cmidd.cli.admission import Admission
from cmidd.compute.devices import pick_device
from cmidd.compute.engine import using
from cmidd.runs.baseline_record import record_baselines
from cmidd.runs.build import fitting_engine, make_context
from cmidd.runs.recipes import refuse_soft_labels
from cmidd.runs.settings import Settings
from cmidd.utils.errors import SettingError


def main(settings: Settings, admission: Admission) -> None:
    """Measure the baselines that the settings name."""
    if not settings.evaluation.baselines:
        raise SettingError("evaluation.baselines=[]: nothing to measure; give [random], [whole] or [random,whole]")
    refuse_soft_labels(settings)
    context = make_context(settings, pick_device(settings.device))
    with using(fitting_engine(settings, context)):
        record_baselines(settings, context, admission.differs_from_recipe)
