"""The interface of a distillation method."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.networks import Network


class Method(ABC):
    """A distillation method: its keyword-only arguments are its settings.

    Attributes:
        steps_per_iteration: how many matches :meth:`matches` yields.
        plain_steps: how many of them take no regulariser.
        gives: what a match holds beside the images: ``network``, and ``real`` for the real batch and the
            synthetic one that was augmented alike. What needs more is refused when the run is built.
        teacher_input: what the reference implementation of CMI shows its teachers with this method.
        experts: the name of its setting that says which trained networks it reads
            (:class:`cmidd.buffers.experts.ExpertSettings`), where it reads any.
        soft_labels: whether the set that it makes has soft labels.
        decodes: whether it matches what the stored images decode to
            (:meth:`cmidd.synthetic.synthetic_set.SyntheticSet.training_images`); else a set's ``formation`` is refused.
        declines: in words, why it wants no step where a match of it is declined.
        in_stages: what keeps it from making a set in stages; None: nothing.
        unsteady: the settings of which a too large value makes the loss infinite, likeliest first.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"network", "real"})
    steps_per_iteration = 1
    plain_steps = 0
    teacher_input: ClassVar[Literal["preprocessed", "pixels"]] = "preprocessed"
    experts: ClassVar[str | None] = None
    soft_labels: ClassVar[bool] = False
    decodes: ClassVar[bool] = False
    declines: ClassVar[str] = "the method declined it"
    in_stages: ClassVar[str | None] = None
    unsteady: ClassVar[tuple[str, ...]] = ("lr_img",)

    @abstractmethod
    def __init__(self, context: Context, **settings: Any) -> None: ...

    @property
    def main_steps(self) -> int:
        """How many matches of an iteration take regularisers; each is followed by as many plain ones."""
        return self.steps_per_iteration - self.plain_steps

    @classmethod
    def images_per_iteration(cls, num_classes: int, ipc: int, settings: Mapping[str, Any]) -> int:
        """About how many images pass through networks in an iteration: it decides whether compiling them pays."""
        return num_classes * (settings.get("batch_real", 0) + ipc)

    @classmethod
    def experts_read(cls, settings: Mapping[str, Any]) -> Any:
        """The :attr:`experts` of these settings as far as they are read; None where the method has none."""
        return None

    @classmethod
    def shortest(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The same settings but for experts as few and short as a step can do with, to be timed."""
        return dict(settings)

    @classmethod
    def refuse(cls, settings: Mapping[str, Any], network: Network) -> None:
        """Refuse settings that do not go together, and a network that the method cannot train, before any work.

        Raises:
            SettingError: naming the setting.
        """
        return None

    @abstractmethod
    def param_groups(self) -> list[dict[str, Any]]:
        """What is optimised, with learning rates and momenta.

        A group may say ``setting``, the one that a too large step is blamed on, and ``what`` it holds: by itself
        ``lr_img``, the images.
        """

    def optimizer(self) -> torch.optim.Optimizer:
        """A new optimiser of :meth:`param_groups`, whose tensors become learnable: SGD, unless a method says otherwise.

        What it remembers of a leaf, tensors, goes into the checkpoint.
        """
        groups = self.param_groups()
        for group in groups:
            for leaf in group["params"]:
                leaf.requires_grad_()
        return torch.optim.SGD(groups)

    @abstractmethod
    def matches(self, iteration: int) -> Iterator[Match]:
        """The optimiser steps of one iteration. Work after a ``yield`` is done when the step was taken."""

    def state(self) -> dict[str, Tensor]:
        """What the method itself remembers from one iteration to the next, for the checkpoint."""
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027 (most remember nothing)
        """Go on from :meth:`state`."""
