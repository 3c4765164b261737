"""Pre-trained networks, as a regulariser asks for them."""

from typing import Any, Protocol

import torch

from cmidd.networks import Network


class Pool(Protocol):
    """Frozen networks, trained on the real images."""

    def draw(self, generator: torch.Generator) -> Network:
        """One teacher, uniformly at random."""


class Teachers(Protocol):
    """The pools of a run, each made when first asked for."""

    def __call__(self, **changes: Any) -> Pool:
        """CMI's pool, or one whose training differs from that of CMI's by ``changes``
        (:class:`cmidd.compute.recipe.TrainingRecipe`); whoever asks for the same gets the same.
        """
