"""The world of a run, as a plug-in sees it: data, synthetic set, random streams and networks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from cmidd.compute import engine
from cmidd.core.sampler import Sampler
from cmidd.data.dataset import Dataset
from cmidd.data.split import Split
from cmidd.networks import Network, blank_network, build_network
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams


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
    sampler: Sampler
    warm_start: WarmStart | None = None

    @property
    def made_by(self) -> dict[str, Any]:
        """What every cache of trained networks is named by: the data, and the engine where it changes numbers.

        Without ``fill``, which changes batches of classes alone: networks are trained on all images.
        """
        arithmetic = engine.current().arithmetic
        data = {name: value for name, value in self.data_key.items() if name != "fill"}
        return {"data": data, **({} if arithmetic == "float32" else {"engine": arithmetic})}

    def new_network(self, generator: torch.Generator, name: str | None = None) -> Network:
        """A random network for these images on their device; another of the zoo by ``name``."""
        return new_network(self.data, self.options_of(name), generator)

    def options_of(self, name: str | None) -> dict[str, Any]:
        """The settings of a network of the zoo: those of the run where it is the run's own, else none."""
        return self.network if name in (None, self.network["name"]) else {"name": name}

    def blank_network(self, name: str | None = None) -> Network:
        """As :meth:`new_network`, without numbers: for its shapes."""
        return blank_of(self.data, self.options_of(name))

    def matching_network(self, generator: torch.Generator) -> Network:
        """A network to match in: a random one, or one trained through the earlier stages of the set."""
        return self.new_network(generator) if self.warm_start is None else self.warm_start.draw(generator)

    def real_batch(self, size: int, network: Network, *counters: int, cycle: int | None = None) -> Split:
        """``size`` real images of every class to match in ``network`` (:meth:`cmidd.core.sampler.Sampler.batch`)."""
        return self.sampler.batch(size, network, self.streams, counters, cycle)


def new_network(data: Dataset, options: dict[str, Any], generator: torch.Generator) -> Network:
    """A random network for the images of ``data`` on their device; ``options`` hold its ``name``."""
    shape, num_classes = data.image_shape, data.num_classes
    return build_network(image_shape=shape, num_classes=num_classes, generator=generator, device=data.device, **options)


def blank_of(data: Dataset, options: dict[str, Any]) -> Network:
    """As :func:`new_network`, without numbers, which costs nothing: for its shapes, or to refuse what does not fit.

    Raises:
        SettingError: as :func:`cmidd.networks.blank_network`.
    """
    return blank_network(image_shape=data.image_shape, num_classes=data.num_classes, **options)
