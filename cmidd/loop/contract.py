"""What the loop is given by plug-ins, held to their interfaces: whoever writes one reads a sentence, not our traceback.

Nothing here waits for the device.
"""

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.core.regularizer import Regularizer
from cmidd.utils.errors import SettingError

MEMORY = ("state", "load_state")


class Held(Regularizer):
    """A regulariser whose term is looked at."""

    def __init__(self, term: Regularizer, num_classes: int) -> None:
        self.term, self.name, self.num_classes = term, term.name, num_classes

    def __call__(self, match: Match, generator: torch.Generator) -> Tensor:
        """The term.

        Raises:
            SettingError: when it is none, or cannot change an image.
        """
        where = f"regularizer={self.name}"
        for need, parts in (("network", ["network"]), ("real", ["real", "synthetic"])):
            if need in self.term.needs and any(getattr(match, part) is None for part in parts):
                raise SettingError(
                    f"{where}: needs {' and '.join(parts)} of the match, which the method leaves out of Match(...) and "
                    "says in gives; fill it in, or say gives = frozenset()"
                )
        term: Tensor = self.term(match, generator)
        _refuse_value(term, self.num_classes, f"{where}: __call__ returned")
        if torch.is_grad_enabled() and not term.requires_grad and len(match.images) > self.num_classes:
            raise SettingError(
                f"{where}: its term has no gradient, so it would change nothing; compute it of match.images, without "
                "detach, no_grad or .item()"
            )
        return term


def matches_of(method: Method, iteration: int, num_classes: int) -> Iterator[Match]:
    """The matches of an iteration.

    Raises:
        SettingError: when one is none, cannot be stepped on, or there are more or fewer than the method says.
    """
    where, count = f"method {type(method).__name__}", 0
    yielded = method.matches(iteration)
    if not isinstance(yielded, Iterable):
        raise SettingError(f"{where}: matches returned a {_kind(yielded)}; it yields a Match for every optimiser step")
    for match in yielded:
        if not isinstance(match, Match):
            raise SettingError(f"{where}: matches yielded a {_kind(match)}; yield a Match (cmidd.core.match)")
        _refuse_value(match.loss, num_classes, f"{where}: the loss of its match is")
        if not match.loss.requires_grad and not match.declined:
            raise SettingError(
                f"{where}: the loss of its match has no gradient; compute it of context.synthetic, without detach or "
                "no_grad"
            )
        count += 1
        yield match
    if count != method.steps_per_iteration:
        raise SettingError(
            f"{where}: matches yielded {count}, and the class says steps_per_iteration = {method.steps_per_iteration}; "
            "say as many as there are"
        )


def refuse_unmoved(optimizer: torch.optim.Optimizer) -> None:
    """Refuse a step that would move nothing; called between the gradients and the step.

    Raises:
        SettingError: when nothing that is optimised has a gradient.
    """
    if all(leaf.grad is None for group in optimizer.param_groups for leaf in group["params"]):
        raise SettingError(
            "method: the loss does not depend on what param_groups names, so nothing would be learned; compute it of "
            "context.synthetic, without detach, and optimise context.synthetic.leaf"
        )


def refuse_memories(memories: Mapping[str, object]) -> None:
    """Refuse what would not be gone on from: a state that is only saved or only read.

    Raises:
        SettingError: naming what is missing.
    """
    for memory in memories.values():
        given = [name for name in MEMORY if _own(memory, name)]
        if len(given) == 1:
            (missing,) = set(MEMORY) - set(given)
            raise SettingError(
                f"{type(memory).__name__}: has {given[0]} and no {missing}, so a killed run would not go on to the "
                f"same bits; write {missing}"
            )


def saved_state(memory: object, state: Mapping[str, object]) -> dict[str, Tensor]:
    """What a plug-in remembers, for the checkpoint.

    Raises:
        SettingError: when some of it is no tensor.
    """
    found = [*state.values()] if isinstance(state, Mapping) else []
    if not isinstance(state, Mapping) or any(not isinstance(value, Tensor) for value in found):
        kind = next((_kind(value) for value in found if not isinstance(value, Tensor)), _kind(state))
        raise SettingError(
            f"{type(memory).__name__}: state returns a {kind} among what it saves; return tensors by name, numbers as "
            "torch.tensor(...)"
        )
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}


def _own(memory: object, name: str) -> bool:
    """Whether a plug-in has such a method, not that of the interface, which remembers nothing."""
    definer = next((kind for kind in type(memory).__mro__ if name in vars(kind)), None)
    return definer is not None and not definer.__module__.startswith("cmidd.core.")


def _refuse_value(value: object, num_classes: int, said: str) -> None:
    shape = list(value.shape) if isinstance(value, Tensor) else None
    if shape not in ([], [num_classes]):
        what = _kind(value) if shape is None else f"tensor of shape {shape}"
        raise SettingError(f"{said} a {what}; give a scalar tensor, or one of a number for each class, [{num_classes}]")


def _kind(value: object) -> str:
    return type(value).__name__
