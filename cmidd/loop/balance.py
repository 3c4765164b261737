"""The weights of the terms beside a method's loss: given, or measured to give a ratio of gradients.

A weight says little by itself: published ones of CMI run from 50 to 80,000, as large as the loss and the features ask
for. What it does to the images x is the ratio ``weight |dT/dx| / |dL/dx|`` of the gradients of the weighted term T and
of the method's own loss L. Given a :class:`Ratio`, in each of the first steps of a stage both gradients are taken of
what is really added, and that step's weight is ``ratio`` times the median of ``|dL/dx| / |dT/dx|`` over the steps so
far, itself included; later it is that of all of them. So it is the median from the first step on, a single odd draw has
no say, and after the last of these steps the run is one of a fixed weight, to the bit.

It costs a backward pass of the loss and one of every term more in these steps, and nothing afterwards. Where a method
takes many steps in an iteration (IDC, DC, DSA), they may all lie within the first.
"""

import logging
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from cmidd.compute.devices import in_float64
from cmidd.loop.divergence import Diverged
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Positive

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ratio:
    """In place of a weight: how large the gradient of the weighted term is to be, beside the loss's."""

    ratio: Positive


class Balance:
    """The weights of a stage; where one is to be measured, all terms are, also those of weight 0.

    Args:
        given: of every term by its name, a weight or a ratio.
        images: what the gradients are taken in.
        steps: the number of the first optimiser steps that are measured.
        measure: measure also where all weights are given, which changes nothing but the record.

    Attributes:
        measured: ``|dL/dx| / |dT/dx|`` of every step so far, by the name of the term: the weights of ratio 1.
    """

    def __init__(
        self, given: Mapping[str, float | Ratio], images: Tensor, steps: int = 0, measure: bool = False
    ) -> None:
        self.given, self.images = given, images
        self.steps = steps if measure or any(isinstance(each, Ratio) for each in given.values()) else 0
        self.measured: dict[str, list[float]] = {}

    def measures(self, step: int) -> bool:
        """Whether gradients are compared in the optimiser step of this number, counted from the stage's first."""
        return step < self.steps

    def adds(self, name: str) -> bool:
        """Whether the term is added to the loss: that of weight 0 is only looked at."""
        return self.given[name] != 0

    def weight(self, name: str) -> float:
        """What a term is multiplied with now.

        Raises:
            SettingError: when it should have been measured and was not.
        """
        given = self.given[name]
        if not isinstance(given, Ratio):
            return given
        if name not in self.measured:
            raise SettingError(
                f"{self.setting(name)}: the checkpoint lacks what was measured; move the run's folder away"
            )
        return given.ratio * statistics.median(self.measured[name])

    def setting(self, name: str) -> str:
        """The setting that a weight comes from, as it is given."""
        given = self.given[name]
        return f"{name}.ratio={given.ratio:g}" if isinstance(given, Ratio) else f"{name}.lambda={given:g}"

    def size(self, value: Tensor) -> float:
        """``|d value / d images|``; the graph stays for the step itself."""
        if not value.requires_grad:
            return 0.0
        (gradient,) = torch.autograd.grad(value, self.images, retain_graph=True, allow_unused=True)
        return 0.0 if gradient is None else float(in_float64(gradient).norm())

    def note(self, name: str, iteration: int, loss: float, term: float) -> None:
        """Remember the :meth:`size` of the loss and that of a term as it is added, without its weight, in a step.

        Raises:
            SettingError: when the term's weight is to come from them, and there is none.
        """
        ratio = loss / term if term else math.inf
        if 0 < ratio < math.inf:
            measured = self.measured.setdefault(name, [])
            measured.append(ratio)
            if len(measured) == self.steps:
                log.info("%s", self.line(name))
        elif isinstance(self.given[name], Ratio):
            for what, size in (("the loss", loss), (f"the term {name}", term)):
                reason = f"{self.setting(name)}: the gradient of {what} in the images is"
                if not math.isfinite(size):
                    raise Diverged(f"{reason} not finite in iteration {iteration + 1}; give {name}.lambda=<number>")
                if size == 0:
                    raise SettingError(
                        f"{reason} zero in iteration {iteration + 1}, so no weight gives a ratio; give "
                        f"{name}.lambda=<number> instead"
                    )

    def record(self) -> dict[str, dict[str, Any]]:
        """Of every measured term its weight, its ratio and what was measured, in order."""
        return {name: self._of(name) | {"measured": values} for name, values in self.measured.items()}

    def line(self, name: str) -> str:
        """The record of a term in words."""
        return in_words(name, self.record()[name])

    def _of(self, name: str) -> dict[str, float]:
        given, weight = self.given[name], self.weight(name)
        ratio = given.ratio if isinstance(given, Ratio) else weight / statistics.median(self.measured[name])
        return {"weight": weight, "ratio": ratio}

    def state(self) -> dict[str, Tensor]:
        """What was measured, for the checkpoint: a run that is killed meanwhile goes on measuring."""
        return {name: torch.tensor(values, dtype=torch.float64) for name, values in self.measured.items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Go on from :meth:`state`."""
        self.measured = {name: tensors[name].flatten().tolist() for name in self.given if name in tensors}


def in_words(name: str, measured: Mapping[str, Any]) -> str:
    """What :meth:`Balance.record` says of a term, in a line."""
    unit, steps = statistics.median(measured["measured"]), len(measured["measured"])
    return (
        f"{name}: weight {measured['weight']:.4g}, its gradient {measured['ratio']:.2g} times the loss's; ratio 1 is a "
        f"weight of {unit:.4g} (median of {steps} steps)"
    )
