"""Train CMI's teacher pool ahead of distillation: ``python scripts/teachers.py dataset=cifar10``."""

from typing import Any

from cmidd.cli import Admitted, app
from cmidd.devices import pick_device
from cmidd.engine import using
from cmidd.run import fitting_engine, make_context
from cmidd.settings import Settings
from cmidd.teachers import TeacherPool


def main(settings: Settings, arguments: dict[str, Any], admitted: Admitted) -> None:
    context = make_context(settings, pick_device(settings.device))
    with using(fitting_engine(settings, arguments, context)):
        TeacherPool(context, settings.cmi.teacher, settings.cmi.pool, settings.cmi.epochs)


if __name__ == "__main__":
    app(main)
