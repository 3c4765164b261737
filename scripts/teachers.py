"""Train the teachers ahead of distillation: ``python scripts/teachers.py dataset=cifar10``.

These are CMI's, and with ``regularizer=iid`` those of IID. The folder that is logged may be copied anywhere and given
to a run as ``cmi.teachers=<folder>``.
"""

from typing import Any

from cmidd.cli import Admitted, app
from cmidd.devices import pick_device
from cmidd.engine import using
from cmidd.plugins import make_regularizers
from cmidd.run import fitting_engine, make_context
from cmidd.settings import Settings
from cmidd.teachers import TeacherPools


def main(settings: Settings, arguments: dict[str, Any], admitted: Admitted) -> None:
    context = make_context(settings, pick_device(settings.device))
    with using(fitting_engine(settings, arguments, context)):
        teachers = TeacherPools(context, settings.cmi)
        make_regularizers(settings, context, teachers)
        if not teachers.about:  # No term of the loss asks for any, so CMI's are meant.
            teachers()


if __name__ == "__main__":
    app(main)
