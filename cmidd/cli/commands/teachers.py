"""Train the teachers of CMI ahead of distillation, and with regularizer=iid those of IID.

Teachers see the data as the method does, so those for MTT on CIFAR10, which whitens (ZCA), serve no other method. The
folder that is logged may be copied anywhere and given to a run as cmi.teachers=<folder>.

Examples:
    cmidd teachers method=dm dataset=cifar10
    cmidd teachers method=idc dataset=cifar10 cmi.pool=200
    cmidd teachers dataset=digits cmi.teacher=mlp cmi.epochs=10
    cmidd teachers method=dm dataset=cifar10 regularizer=iid
"""

import contextlib
import logging

from cmidd.cli.admission import Admission
from cmidd.cli.compose import compose
from cmidd.compute.devices import pick_device
from cmidd.compute.engine import using
from cmidd.methods import METHODS
from cmidd.runs.build import fitting_engine, make_context, make_regularizers, make_teachers
from cmidd.runs.settings import Settings
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import differences

log = logging.getLogger(__name__)


def main(settings: Settings, admission: Admission) -> None:
    """Train the teachers that the regularisers of the settings ask for."""
    words = admission.chosen.words
    if settings.cmi.teachers is None and not any(word.lstrip("+").startswith("method=") for word in words):
        _say_for_whom(settings, words)
    context = make_context(settings, pick_device(settings.device))
    with using(fitting_engine(settings, context)):
        teachers = make_teachers(settings, context)
        make_regularizers(settings, context, teachers)
        if not teachers.about:  # No term of the loss asks for any, so CMI's are meant.
            teachers()


def _say_for_whom(settings: Settings, words: list[str]) -> None:
    """Say which methods read other teachers than those of the method that holds where none is given."""
    others: dict[str, list[str]] = {}
    for name in METHODS:
        with contextlib.suppress(SettingError):  # A method that takes not all of the words.
            other = compose([*words, f"method={name}"], is_run=False)
            if found := differences(settings.dataset, other.dataset, "dataset"):
                seen = ", ".join(f"{setting}={str(value).lower()}" for setting, _, value in found)
                others.setdefault(seen, []).append(name)
    for seen, names in others.items():
        log.warning(
            "these are teachers for method=%s; those for %s see other data (%s) and are others: give method=<name>",
            *(settings.method["name"], ", ".join(names), seen),
        )
