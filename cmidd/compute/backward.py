"""The gradient of a batch's loss in a network's parameters, computed step by step or replayed as a CUDA graph."""

import copy
import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cmidd.compute import passes
from cmidd.compute.graphs import Graphed, graphed
from cmidd.compute.losses import Mix, loss_of
from cmidd.compute.recipe import TrainingRecipe

Loss = Callable[[TrainingRecipe, Tensor, Tensor, Tensor | None, Mix | None], Tensor]
"""Of a batch, as :func:`cmidd.compute.losses.loss_of`."""


class Backward:
    """Gives the parameters of networks of one structure the gradient of a batch's loss.

    As a graph it is computed on one network of its own, filled with the numbers of whichever is trained: whoever trains
    many of them captures once. The optimiser's step stays outside: its learning rate changes, and it is a few kernels
    for all parameters together.

    Args:
        loss: of the batch by the recipe.
    """

    def __init__(self, recipe: TrainingRecipe, loss: Loss = loss_of) -> None:
        self.recipe, self.loss = recipe, loss
        self._own: nn.Module | None = None
        self._graphed: Graphed | None = None

    def __call__(
        self, network: nn.Module, images: Tensor, labels: Tensor, targets: Tensor | None, mix: Mix | None
    ) -> Tensor:
        """Logits of the images, and the gradient in ``grad`` of the parameters, which have none.

        Args:
            labels, targets, mix: as for :func:`cmidd.compute.losses.loss_of`.
        """
        if graphed(images.device):
            return self._replayed(network, images, labels, targets, mix)
        logits = passes.logits(network, images)
        self.loss(self.recipe, logits, labels, targets, mix).backward()
        return logits.detach()

    @torch.no_grad()
    def _replayed(
        self, network: nn.Module, images: Tensor, labels: Tensor, targets: Tensor | None, mix: Mix | None
    ) -> Tensor:
        if self._own is None or self._graphed is None:
            self._own = copy.deepcopy(network)
            # Nothing of this object: a circle would keep the graph's memory until Python looks for circles.
            function = functools.partial(_gradients, self._own, self.recipe, self.loss)
            self._graphed = Graphed(function, list(self._own.buffers()))
        self._own.train(network.training)
        theirs: list[Tensor] = list(network.parameters())
        own: list[Tensor] = list(self._own.parameters())
        torch._foreach_copy_(own, theirs)
        buffers = list(zip(network.buffers(), self._own.buffers(), strict=True))
        for their, mine in buffers:
            mine.copy_(their)
        partner, share = (None, None) if mix is None else (mix.partner, _tensor(mix.share, images))
        logits, *gradients = self._graphed(images, labels, targets, partner, share)
        for their, mine in buffers:
            their.copy_(mine)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        return logits.clone()


def _gradients(
    network: nn.Module,
    recipe: TrainingRecipe,
    loss: Loss,
    images: Tensor,
    labels: Tensor,
    targets: Tensor | None,
    partner: Tensor | None,
    share: Tensor | None,
) -> tuple[Tensor, ...]:
    """Logits, and the gradient in each parameter."""
    mix = None if partner is None or share is None else Mix(partner, share)
    with torch.enable_grad():
        logits = passes.logits(network, images)
        value = loss(recipe, logits, labels, targets, mix)
    return logits.detach(), *torch.autograd.grad(value, list(network.parameters()))


def _tensor(share: float | Tensor, like: Tensor) -> Tensor:
    return share if isinstance(share, Tensor) else torch.full((), share, dtype=like.dtype, device=like.device)
