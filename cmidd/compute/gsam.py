"""Adaptive GSAM, the surrogate gap of sharpness (Zhuang et al., ICLR 2022; Kwon et al., ICML 2021)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

EPS = 1e-12


class GSAM(torch.optim.Optimizer):
    """Step along the gradient at a perturbed point, less the part of the gradient here that lies across it.

    With the gradient g at the parameters t and g' at ``t + rho t^2 g / |t g|`` (elementwise, one norm over all
    parameters) the step is ``lr (g' - alpha (g - (g.g') / |g'|^2 g'))``: two passes of each batch.

    Args:
        rho: how far the perturbed point lies.
        alpha: the share of what lies across that is taken off.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, rho: float, alpha: float) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "alpha": alpha})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Take a step.

        Args:
            closure: sets the gradients of the loss at the parameters as they are, and returns what is returned here:
                what it returned at the parameters before the step.
        """
        assert closure is not None, "GSAM asks for the loss twice"
        (group,) = self.param_groups
        parameters: list[Tensor] = group["params"]
        found, here = self._gradients(closure)
        scaled = torch.cat([(parameter * g).flatten() for parameter, g in zip(parameters, here, strict=True)])
        factor = group["rho"] / (torch.linalg.vector_norm(scaled) + EPS)
        before = [parameter.clone() for parameter in parameters]
        for parameter, gradient in zip(parameters, here, strict=True):
            parameter.add_(factor * parameter.square() * gradient)
        _, there = self._gradients(closure)
        inner = torch.stack([(g * p).sum() for g, p in zip(here, there, strict=True)]).sum()
        along = inner / (torch.stack([p.square().sum() for p in there]).sum() + EPS)
        for parameter, old, g, perturbed in zip(parameters, before, here, there, strict=True):
            direction = perturbed - group["alpha"] * (g - along * perturbed)
            parameter.copy_(old - group["lr"] * direction)
        return found

    def _gradients(self, closure: Callable[[], Any]) -> tuple[Any, list[Tensor]]:
        """What the closure returns, and the gradients that it leaves."""
        with torch.enable_grad():
            found = closure()
        (group,) = self.param_groups
        gradients = [parameter.grad for parameter in group["params"]]
        assert all(gradient is not None for gradient in gradients)
        return found, [gradient.clone() for gradient in gradients if gradient is not None]
