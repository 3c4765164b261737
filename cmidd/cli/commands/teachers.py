"""Train the teachers of CMI ahead of distillation, and with regularizer=iid those of IID.

The folder that is logged may be copied anywhere and given to a run as cmi.teachers=<folder>.

Examples:
    cmidd teachers dataset=cifar10
    cmidd teachers dataset=cifar10 cmi.pool=200
    cmidd teachers dataset=digits cmi.teacher=mlp cmi.epochs=10
    cmidd teachers dataset=cifar10 regularizer=iid
"""

from cmidd.cli.admission import Admission
from cmidd.compute.devices import pick_device
from cmidd.compute.engine import using
from cmidd.runs.build import fitting_engine, make_context, make_regularizers, make_teachers
from cmidd.runs.settings import Settings


def main(settings: Settings, admission: Admission) -> None:
    """Train the teachers that the regularisers of the settings ask for."""
    context = make_context(settings, pick_device(settings.device))
    with using(fitting_engine(settings, context)):
        teachers = make_teachers(settings, context)
        make_regularizers(settings, context, teachers)
        if not teachers.about:  # No term of the loss asks for any, so CMI's are meant.
            teachers()
