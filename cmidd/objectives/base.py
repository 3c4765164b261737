"""What an objective is given, and what it hands to the loop at every optimiser step."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmidd import engine
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

    @property
    def made_by(self) -> dict[str, Any]:
        """What every cache of trained networks is named by: the data, and the engine where it changes numbers."""
        label = engine.current().label
        return {"data": self.data_key, **({} if label == "float32" else {"engine": label})}

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

    Attributes:
        images, labels: the synthetic images in network input space, as stored (DM, DC, DSA, MTT) or decoded
            (IDC, IDM).
        network, real, synthetic: the matching network and the augmented batches, absent where there is none (MTT).
        scale: how many losses a regulariser is added to: one, or one per class where the reference takes a
            step for each class and adds the term to each (IDC, IDM; methods.md section 7).
        draw: regularisers draw anew where this number changes within an iteration.
    """

    loss: Tensor
    images: Tensor
    labels: Tensor
    network: nn.Module | None = None
    real: Split | None = None
    synthetic: Split | None = None
    scale: int = 1
    draw: int = 0


class Objective(ABC):
    """A distillation method: its keyword arguments are the settings of ``configs/method/<name>.yaml``.

    Attributes:
        steps_per_iteration: how many matches :meth:`matches` yields.
    """

    steps_per_iteration = 1

    @abstractmethod
    def __init__(self, context: Context, **settings: Any) -> None: ...

    @classmethod
    def images_per_iteration(cls, num_classes: int, ipc: int, settings: Mapping[str, Any]) -> int:
        """About how many images pass through networks in an iteration: it decides whether compiling them pays."""
        return num_classes * (settings["batch_real"] + ipc)

    @abstractmethod
    def param_groups(self) -> list[dict[str, Any]]:
        """What SGD optimises, with learning rates and momenta."""

    @abstractmethod
    def matches(self, iteration: int) -> Iterator[Match]:
        """The optimiser steps of one iteration. Work after a ``yield`` is done when the step was taken."""

    def state(self) -> dict[str, Tensor]:
        """What the objective itself remembers from one iteration to the next, for the checkpoint."""
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027 (most remember nothing)
        """Go on from :meth:`state`."""
