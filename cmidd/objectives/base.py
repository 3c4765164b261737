"""What an objective is given, and what it hands to the loop at every optimiser step."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from cmidd import engine
from cmidd.data import Dataset
from cmidd.embeddings import embed_real
from cmidd.networks import Network, blank_network, build_network
from cmidd.passes import embed_in_chunks
from cmidd.samplers.base import RandomSampler, Sampler
from cmidd.sources import Split
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet


class WarmStart(Protocol):
    """Networks that were trained through the finished stages of a set; ``key`` names what on, for caches."""

    key: str

    def draw(self, generator: torch.Generator) -> Network:
        """A network of its own for the caller."""

    def train(self, network: Network, streams: Streams) -> Network:
        """Train ``network`` through the stages, in place."""


@dataclass(frozen=True)
class Context:
    """The world of one run: real data, the synthetic set, random streams, networks, and where caches go.

    Attributes:
        sampler: chooses the real images.
        warm_start: networks trained through the earlier stages of the set, where there are any.
    """

    data: Dataset
    synthetic: SyntheticSet
    streams: Streams
    buffers: Path
    network: dict[str, Any]
    data_key: dict[str, Any]
    sampler: Sampler = field(default_factory=RandomSampler)
    warm_start: WarmStart | None = None

    @property
    def made_by(self) -> dict[str, Any]:
        """What every cache of trained networks is named by: the data, and the engine where it changes numbers."""
        label = engine.current().label
        return {"data": self.data_key, **({} if label == "float32" else {"engine": label})}

    def new_network(self, generator: torch.Generator, name: str | None = None) -> Network:
        """A random network for these images on their device; another of the zoo by ``name``."""
        options = self.network if name in (None, self.network["name"]) else {"name": name}
        return new_network(self.data, options, generator)

    def blank_network(self) -> Network:
        """The network without numbers: for its shapes."""
        return blank_network(image_shape=self.data.image_shape, num_classes=self.data.num_classes, **self.network)

    def matching_network(self, generator: torch.Generator) -> Network:
        """A network to match in: a random one, or one trained through the earlier stages of the set."""
        return self.new_network(generator) if self.warm_start is None else self.warm_start.draw(generator)

    def real_batch(self, size: int, network: Network, *counters: int, cycle: int | None = None) -> Split:
        """``size`` real images of every class to match in ``network`` (:meth:`cmidd.samplers.base.Sampler.batch`)."""
        return self.sampler.batch(self.data, size, network, self.streams, counters, cycle)


def new_network(data: Dataset, options: dict[str, Any], generator: torch.Generator) -> Network:
    """A random network for the images of ``data`` on their device; ``options`` hold its ``name``."""
    shape, num_classes = data.image_shape, data.num_classes
    return build_network(image_shape=shape, num_classes=num_classes, generator=generator, device=data.device, **options)


@dataclass(frozen=True)
class Match:
    """One optimiser step: the objective's loss (per class ``[C]``, or a scalar) and what regularisers see.

    Attributes:
        images, labels: the synthetic images in network input space, as stored (DM, DC, DSA, MTT) or decoded
            (IDC, IDM).
        network, real, synthetic: the matching network and the augmented batches, as far as there are any
            (:attr:`Objective.gives`).
        embedded: the embeddings of ``real`` (without a graph) and ``synthetic`` in ``network``, where the objective
            made them.
        scale: how many losses a regulariser is added to: one, or one per class where the reference takes a
            step for each class and adds the term to each (IDC, IDM; methods.md section 7).
        draw: regularisers draw anew where this number changes within an iteration.
    """

    loss: Tensor
    images: Tensor
    labels: Tensor
    network: Network | None = None
    real: Split | None = None
    synthetic: Split | None = None
    embedded: tuple[Tensor, Tensor] | None = None
    scale: int = 1
    draw: int = 0

    @cached_property
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """:attr:`embedded`, made now if the objective did not: every batch passes the network once, whoever asks."""
        if self.embedded is not None:
            return self.embedded
        assert self.network is not None and self.real is not None and self.synthetic is not None
        return embed_real(self.network, self.real.images), embed_in_chunks(self.network, self.synthetic.images)


class Objective(ABC):
    """A distillation method: its keyword arguments are the settings of ``configs/method/<name>.yaml``.

    Attributes:
        steps_per_iteration: how many matches :meth:`matches` yields.
        gives: what a match holds beside the images: ``network``, and ``real`` for the real batch and the
            synthetic one that was augmented alike. What needs more is refused when the run is built.
        teacher_input: what the reference implementation of CMI shows its teachers with this method.
        unsteady: the settings of which a too large value makes the loss infinite, likeliest first.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"network", "real"})
    steps_per_iteration = 1
    teacher_input: ClassVar[Literal["preprocessed", "pixels"]] = "preprocessed"
    unsteady: ClassVar[tuple[str, ...]] = ("lr_img",)

    @abstractmethod
    def __init__(self, context: Context, **settings: Any) -> None: ...

    @classmethod
    def images_per_iteration(cls, num_classes: int, ipc: int, settings: Mapping[str, Any]) -> int:
        """About how many images pass through networks in an iteration: it decides whether compiling them pays."""
        return num_classes * (settings["batch_real"] + ipc)

    @classmethod
    def refuse(cls, settings: Mapping[str, Any], network: Network) -> None:
        """Refuse settings that do not go together, and a network that the method cannot train, before any work.

        Raises:
            SettingError: naming the setting.
        """
        return None

    @abstractmethod
    def param_groups(self) -> list[dict[str, Any]]:
        """What SGD optimises, with learning rates and momenta."""

    def optimizer(self) -> torch.optim.SGD:
        """A new optimiser of :meth:`param_groups`, whose tensors become learnable."""
        groups = self.param_groups()
        for group in groups:
            for leaf in group["params"]:
                leaf.requires_grad_()
        return torch.optim.SGD(groups)

    @abstractmethod
    def matches(self, iteration: int) -> Iterator[Match]:
        """The optimiser steps of one iteration. Work after a ``yield`` is done when the step was taken."""

    def state(self) -> dict[str, Tensor]:
        """What the objective itself remembers from one iteration to the next, for the checkpoint."""
        return {}

    def load_state(self, tensors: dict[str, Tensor]) -> None:  # noqa: B027 (most remember nothing)
        """Go on from :meth:`state`."""
