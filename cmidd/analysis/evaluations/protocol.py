"""The protocol by which a set is evaluated: that of its method, or one that was chosen, with its own values."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cmidd.analysis.evaluations.settings import HELD_OUT, Request
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.evaluation.subject import Place, Subject
from cmidd.methods import METHODS
from cmidd.runs.identity import TEACHERS
from cmidd.runs.settings import Settings
from cmidd.utils.errors import SettingError

# What a protocol is composed without: it is of a method of its own.
OF_A_SET = ("method", "recipe", "network", "cmi")


@dataclass(frozen=True)
class Asked:
    """A set to be evaluated as was asked for.

    Attributes:
        path: the set's, as it was given.
        settings: those of a run like the one that made it, with what was typed.
        protocol: how networks are trained on it, and how many; its ``training`` is the subject's.
        networks: settings of networks, by their names, as the code of another's set has them.
    """

    path: str
    subject: Subject
    settings: Settings
    protocol: EvaluationProtocol
    networks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def taught(self) -> bool:
        """Whether a teacher gives the labels."""
        return self.protocol.training.taught


def protocol_of(request: Request, settings: Settings, before: Sequence[str], name: str | None) -> EvaluationProtocol:
    """The protocol ``name`` with what was typed, as the recipe of the method whose name it begins with has it, where
    there is one.

    Args:
        settings: of the set's own method, whose protocol it is where none is named.
        before: the words that ``settings`` were composed from, beside those that were typed.
    """
    if name is None:
        return settings.evaluation
    method = name.partition("_")[0]
    method = method if method in METHODS else "dm"  # Whose recipes say nothing of evaluations.
    of_the_set = ["method=", "network=", *([] if METHODS[method].decodes else ["method.formation."])]
    others = [word for word in before if not word.startswith(tuple(of_the_set))]
    return request.composed([*others, f"method={method}", f"evaluation={name}"], OF_A_SET).evaluation


def place_to_read(settings: Settings, protocol: EvaluationProtocol, device: torch.device) -> Place:
    """Where the data set is; of ``held_out`` tests ``dataset.validation`` is the part that chooses among them."""
    fraction = settings.dataset.get("validation") or HELD_OUT
    held_out = fraction if protocol.selection == "held_out" else None
    return Place(settings.data, device, Path(settings.buffers_root, "images"), held_out)


def wants_teacher(request: Request, asked: Asked) -> bool:
    """Whether teachers label something: what networks are trained on, or for scores random images like the set's."""
    named = any(name in request.typed for name in TEACHERS)
    return asked.taught or (request.own.scores and asked.subject.recipe.loss != "hard" and named)


def finished(request: Request, asked: Asked) -> Asked:
    """The set with the protocol that it is trained by, without a learned step size where another rate was asked for.

    Raises:
        SettingError: when a teacher is asked for and none is named, or named and not asked for.
    """
    subject, typed = asked.subject, request.typed
    recipe = subject.recipe
    chosen = {"evaluation", "evaluation.training.optimizer"} & typed.keys()
    if "evaluation.training.lr" in typed or (chosen and recipe.optimizer != "sgd"):  # It was learned for SGD.
        subject.synthetic.forget_syn_lr()
    protocol = dataclasses.replace(asked.protocol, training=recipe, optimizer=subject.optimizer)
    asked = dataclasses.replace(asked, protocol=protocol)
    named = [name for name in TEACHERS if name in typed]
    if asked.taught and not named:
        raise SettingError(
            f"evaluation.training.targets={recipe.targets}: no teacher is named; give cmi.teachers=<folder or file> of "
            "its network, or cmi.teacher=<network> cmi.pool=1 cmi.epochs=<epochs>, which is trained first"
        )
    if named and not asked.taught and not request.own.scores:
        raise SettingError(
            f"{request.value(named[0])}: no teacher is asked for; give evaluation.training.targets=teacher with a "
            f"loss of soft labels as well, as evaluation=rded has them, or remove {named[0]}"
        )
    return asked
