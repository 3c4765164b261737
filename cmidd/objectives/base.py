"""What an objective is given, and what it hands to the loop at every optimiser step."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmidd.data import Dataset
from cmidd.networks import Network, build_network
from cmidd.sources import Split
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet


@dataclass(frozen=True)
class Context:
    """The world of one run: real data, the synthetic set, random streams, networks, and where caches go."""

    data: Dataset
    synthetic: SyntheticSet
    streams: Streams
    buffers: Path
    network: dict[str, Any]
    data_key: dict[str, Any]

    def new_network(self, generator: torch.Generator, name: str | None = None) -> Network:
        """A random network for these images on their device; another of the zoo by ``name``."""
        options = self.network if name in (None, self.network["name"]) else {"name": name}
        return build_network(
            image_shape=self.data.image_shape,
            num_classes=self.data.num_classes,
            generator=generator,
            device=self.data.device,
            **options,
        )


@dataclass(frozen=True)
class Match:
    """One optimiser step: the objective's loss (per class ``[C]``, or a scalar) and what regularisers see.

    ``images`` and ``labels`` are the synthetic images in network input space. The matching network and the
    augmented batches are absent where the objective has none (MTT).
    """

    loss: Tensor
    images: Tensor
    labels: Tensor
    network: nn.Module | None = None
    real: Split | None = None
    synthetic: Split | None = None


class Objective(ABC):
    """A distillation method: its keyword arguments are the settings of ``configs/method/<name>.yaml``."""

    @abstractmethod
    def __init__(self, context: Context, **settings: Any) -> None: ...

    @abstractmethod
    def param_groups(self) -> list[dict[str, Any]]:
        """What SGD optimises, with learning rates and momenta."""

    @abstractmethod
    def matches(self, iteration: int) -> Iterator[Match]:
        """The optimiser steps of one iteration. Work after a ``yield`` is done when the step was taken."""
