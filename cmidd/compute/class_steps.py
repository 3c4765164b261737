"""Optimisers whose source steps class after class on one tensor of images, in one joint step.

Where a reference takes an optimiser step for the loss of each class, the images of a class get C - 1 steps without a
gradient between two of their own: momentum and decay go on, variances shrink. Exact in one pass: the images of class c
(of C, from 0) take c such idle steps, then all of them the step of their gradient, and then C - 1 - c idle ones.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from cmidd.utils.transfer import to_device


class ClassSteps(torch.optim.Optimizer):
    """The joint form of C steps; :meth:`prepare` must come before the gradient is computed, :meth:`step` after.

    Args:
        params: one group with one leaf ``[N, ...]``.
        labels: the class ``[N]`` of each image, all of C classes.

    Attributes:
        scale: what the learning rate is multiplied with, for a schedule.
    """

    names: tuple[str, ...] = ()

    def __init__(self, params: Iterable[dict[str, Any]], labels: Tensor, defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        ((self.leaf,),) = (group["params"] for group in self.param_groups)
        self.classes = int(labels.max()) + 1
        self.position = labels.to(self.leaf.device).view(-1, *[1] * (self.leaf.dim() - 1))
        self.scale = 1.0
        self._prepared = False

    @torch.no_grad()
    def prepare(self) -> None:
        """Take the idle steps before each class's own."""
        for number in range(self.classes - 1):
            self._move(self.position > number, number + 1, None)
        self._prepared = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take each class's own step, and the idle ones after it."""
        if not self._prepared:
            self.prepare()
        self._prepared = False
        self._move(torch.ones_like(self.position, dtype=torch.bool), None, self.leaf.grad)
        for number in range(1, self.classes):
            self._move(self.position < number, number + 1, None)
        self.remembered["step"] += self.classes

    @property
    def remembered(self) -> dict[str, Any]:
        """What is remembered of the leaf: ``step``, how often it was stepped, and tensors of its shape."""
        state: dict[str, Any] = self.state[self.leaf]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.int64)
            state.update({name: torch.zeros_like(self.leaf) for name in self.names})
        return state

    @property
    def lr(self) -> float:
        """The step size now."""
        return float(self.param_groups[0]["lr"]) * self.scale

    def _move(self, which: Tensor, number: int | None, gradient: Tensor | None) -> None:
        """One step of the images ``which`` ``[N, 1, ...]``, the number-th of this round, or None: each class's own.

        Args:
            gradient: of all images; None: zero.
        """
        raise NotImplementedError


class ClassSGD(ClassSteps):
    """SGD with momentum."""

    names = ("momentum_buffer",)

    def __init__(self, params: Iterable[dict[str, Any]], labels: Tensor, *, lr: float, momentum: float) -> None:
        super().__init__(params, labels, {"lr": lr, "momentum": momentum})

    def _move(self, which: Tensor, number: int | None, gradient: Tensor | None) -> None:
        buffer = self.remembered["momentum_buffer"]
        moved = buffer * self.param_groups[0]["momentum"]
        if gradient is not None:
            moved += gradient
        buffer.copy_(torch.where(which, moved, buffer))
        self.leaf.sub_(torch.where(which, self.lr * moved, 0))


class ClassAdamW(ClassSteps):
    """AdamW (Loshchilov & Hutter, ICLR 2019) with torch's betas and epsilon."""

    names = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        labels: Tensor,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, labels, defaults)

    def _move(self, which: Tensor, number: int | None, gradient: Tensor | None) -> None:
        group, state = self.param_groups[0], self.remembered
        (first, second), lr = group["betas"], self.lr
        mean, square = first * state["exp_avg"], second * state["exp_avg_sq"]
        if gradient is not None:
            mean, square = mean + (1 - first) * gradient, square + (1 - second) * gradient.square()
        by_mean, by_square = (self._correction(beta, number) for beta in (first, second))
        moved = (1 - lr * group["weight_decay"]) * self.leaf
        moved -= lr * (mean / by_mean) / ((square / by_square).sqrt() + group["eps"])
        for old, new in ((state["exp_avg"], mean), (state["exp_avg_sq"], square), (self.leaf, moved)):
            old.copy_(torch.where(which, new, old))

    def _correction(self, beta: float, number: int | None) -> float | Tensor:
        """What a mean of decay ``beta`` is divided by, that began with zero; ``[N, 1, ...]`` where classes differ."""
        before = int(self.remembered["step"])  # On the CPU, as torch's own count is.
        if number is not None:
            return 1 - beta ** (before + number)
        of_class = torch.tensor(
            [1 - beta ** (before + 1 + label) for label in range(self.classes)], dtype=torch.float64
        )
        (placed,) = to_device([of_class.to(self.leaf.dtype)], self.leaf.device)
        return placed[self.position]
