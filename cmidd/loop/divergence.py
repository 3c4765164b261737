"""Divergence of a distillation: infinite losses, images far from the data's range, a step size below zero."""

from collections.abc import Callable, Mapping
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from cmidd.core.method import Method
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError

# How far a learned value may go: this many times the largest one that it started from, or this where all of those are
# below 1, the spread of network input. The published values stay far below, an exploding set passes it within steps.
REACH = 100.0
CHECK_INTERVAL = 10  # iterations


class Diverged(SettingError):
    """Numbers went wrong; the message names the setting to change."""


class Watch:
    """Notes every step without waiting for the device, and says at the next check which went wrong first.

    Args:
        optimizer: of what is learned, which is still as it starts.
        weight: of a regulariser, by its name.
        setting: what that weight comes from, for the message.
        arguments: the method's settings, for the message.
    """

    def __init__(
        self,
        method: Method,
        synthetic: SyntheticSet,
        optimizer: torch.optim.Optimizer,
        weight: Callable[[str], float],
        setting: Callable[[str], str],
        arguments: Mapping[str, Any],
    ) -> None:
        self.method, self.syn_lr, self.weight, self.setting = method, synthetic.syn_lr, weight, setting
        groups = [(group, leaf) for group in optimizer.param_groups for leaf in group["params"]]
        self.leaves: list[Tensor] = [leaf for _, leaf in groups]
        self.blamed = [(group.get("setting", "lr_img"), group.get("what", "the images")) for group, _ in groups]
        self.arguments = SimpleNamespace(**arguments)
        self.starts = [float(leaf.detach().abs().max()) for leaf in self.leaves]
        self.forget()

    def forget(self) -> None:
        """Drop the steps that were not checked."""
        self._iterations: list[int] = []
        self._steps: list[dict[str, Tensor]] = []
        self._reached: list[Tensor] = []

    @torch.no_grad()
    def note(self, iteration: int, metrics: dict[str, Tensor]) -> None:
        """Remember what a step gave (:func:`cmidd.loop.distill.distillation_step`) and how far the leaves are now."""
        self._iterations.append(iteration)
        self._steps.append(metrics)
        reached = [leaf.clone() if leaf is self.syn_lr else leaf.abs().max() for leaf in self.leaves]
        self._reached += [value.float() for value in reached]

    def check(self) -> None:
        """Look at the steps since the last check.

        Raises:
            Diverged: for the first one that went wrong.
        """
        if not self._steps:
            return
        terms, steps = [value.float() for metrics in self._steps for value in metrics.values()], len(self._steps)
        values = torch.stack([*terms, *self._reached]).tolist()  # At once: each time the device is waited for.
        rows, reached = _rows(values[: len(terms)], steps), _rows(values[len(terms) :], steps)
        names, iterations = list(self._steps[0]), self._iterations
        self.forget()
        for iteration, row, far in zip(iterations, rows, reached, strict=True):
            wrong = self._wrong(dict(zip(names, row, strict=True)), far)
            if wrong is not None:
                settings, what = wrong
                raise Diverged(f"{', '.join(settings)}: {what} in iteration {iteration + 1}; choose a smaller value")

    def check_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Look at what is about to be saved.

        Raises:
            Diverged: when a number is not finite, as in a network that the method trains.
        """
        for device in dict.fromkeys(tensor.device for tensor in tensors.values()):  # Each is waited for once.
            own = {name: tensor for name, tensor in tensors.items() if tensor.device == device}
            finite = torch.stack([tensor.isfinite().all() for tensor in own.values()]).tolist()
            for name in (name for name, good in zip(own, finite, strict=True) if not good):
                raise Diverged(f"{', '.join(self._unsteady())}: {name} is not finite; choose a smaller value")

    def _wrong(self, metrics: dict[str, float], reached: list[float]) -> tuple[list[str], str] | None:
        """The settings to blame for a step and what went wrong, in the order in which a step computes."""
        total, loss = metrics.pop("total"), metrics.pop("loss")
        if not _finite(loss):
            return self._unsteady(), "the loss is not finite"
        # A step that was declined has terms of 0, whose weight may not be measured yet.
        weighted = {name: abs(self.weight(name) * value) if value else 0.0 for name, value in metrics.items()}
        for name, value in metrics.items():
            if not _finite(value):
                return [self.setting(name)], f"the term {name} is not finite"
        if not _finite(total):
            return [self.setting(max(weighted, key=weighted.__getitem__))], "the sum of the terms is not finite"
        for leaf, (name, of), start, value in zip(self.leaves, self.blamed, self.starts, reached, strict=True):
            if leaf is self.syn_lr:
                if not 0 < value <= REACH * max(1.0, start):
                    what = f"the learned step size, at the start {start:.3g}, became {value:.3g}"
                    return [self._method("lr_lr")], what
            elif not value <= REACH * max(1.0, start):
                stronger = [self.setting(term) for term, size in weighted.items() if size > abs(loss)]
                return [self._method(name), *stronger], f"{of}, at the start up to {start:.3g}, reached {value:.3g}"
        return None

    def _unsteady(self) -> list[str]:
        return [self._method(name) for name in self.method.unsteady]

    def _method(self, name: str) -> str:
        try:
            return f"method.{name}={attrgetter(name)(self.arguments):g}"
        except AttributeError:  # A method of the user's own may call it otherwise.
            return f"method.{name}"


def _rows(values: list[float], count: int) -> list[list[float]]:
    """A list cut into ``count`` of equal length."""
    width = len(values) // count
    return [values[row * width : (row + 1) * width] for row in range(count)]


def _finite(value: float) -> bool:
    return abs(value) < float("inf")
