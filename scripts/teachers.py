"""Train CMI's teacher pool ahead of distillation: ``python scripts/teachers.py dataset=cifar10``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmidd.cli import app
from cmidd.run import make_context
from cmidd.settings import Settings
from cmidd.teachers import TeacherPool


def main(settings: Settings, arguments: dict[str, Any], admitted: Callable[[Path], None]) -> None:
    TeacherPool(make_context(settings), settings.cmi.teacher, settings.cmi.pool, settings.cmi.epochs)


if __name__ == "__main__":
    app(main)
