"""An expert in training, as its file has it."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cmidd.compute.recipe import TrainingRecipe
from cmidd.networks import Network
from cmidd.utils import tensor_files
from cmidd.utils.random_streams import Streams


@dataclass
class Expert:
    """An expert in training: its rows so far, and what the optimiser remembered after the last."""

    what: str
    path: Path
    network: Network
    streams: Streams
    rows: list[Tensor] = field(default_factory=list)
    state: dict[str, list[Tensor]] = field(default_factory=dict)

    def read(self, recipe: TrainingRecipe) -> "Expert":
        """Itself, as its file has it."""
        tensors, _ = tensor_files.read_tensors(self.path)
        self.rows = list(tensors["trajectory"])
        with torch.no_grad():
            for parameter, values in zip(
                self.network.parameters(), self._like(tensors.get("last", self.rows[-1])), strict=True
            ):
                parameter.copy_(values)
        for name in recipe.remembered:
            self.state[name] = list(tensors[name]) if name == "step" else self._like(tensors[name])
        return self

    def _like(self, vector: Tensor) -> list[Tensor]:
        """A vector in the shapes of the network's parameters."""
        parts = vector.split([parameter.numel() for parameter in self.network.parameters()])
        return [part.view_as(parameter) for part, parameter in zip(parts, self.network.parameters(), strict=True)]
