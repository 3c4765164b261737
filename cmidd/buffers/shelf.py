"""Frozen networks of which a GPU holds some: the others wait in the host's memory, and are copied when used."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from cmidd.networks import Network

MOST_BYTES = 2**30  # of networks on a GPU: 24 ResNet18; the 200 of cmi=paper are 8.9 GB
FEWEST = 4  # Terms of one step may draw one each, and need it until the step's last gradient.


class Shelf:
    """Where the networks of a pool are kept: on ``device``, or on the host where that is a GPU and they are too many.

    Args:
        paths: the files that they are read from, for their size.
    """

    def __init__(self, paths: Iterable[Path], device: torch.device) -> None:
        waiting = device.type == "cuda" and sum(path.stat().st_size for path in paths) > MOST_BYTES
        self.device, self.home = device, torch.device("cpu") if waiting else device
        self._kept: list[Network] = []
        self._waiting: dict[Network, list[Tensor]] = {}  # what the host has of every network
        self._lent: dict[Network, int] = {}  # the bytes of those on the device, the one used last at the end

    def keep(self, network: Network) -> Network:
        """The network, frozen, to be asked for by :meth:`lend`; it must be at :attr:`home`."""
        self._kept.append(network.eval().requires_grad_(False))
        if self.home != self.device:
            # Pinned, so that the host need not wait for the copies of them.
            self._waiting[network] = [tensor.detach().pin_memory() for tensor in _tensors(network)]
            _replace(network, self._waiting[network])
        return network

    def __iter__(self) -> Iterator[Network]:
        """All of them, each on the device when its turn comes."""
        return map(self.lend, self._kept)

    def lend(self, network: Network) -> Network:
        """The same network, on the device, until :data:`FEWEST` others were asked for at least."""
        if network not in self._waiting:
            return network
        if (size := self._lent.pop(network, None)) is None:
            tensors = self._waiting[network]
            size = sum(tensor.nbytes for tensor in tensors)
            while len(self._lent) >= FEWEST and sum(self._lent.values()) + size > MOST_BYTES:
                oldest = next(iter(self._lent))
                del self._lent[oldest]
                _replace(oldest, self._waiting[oldest])
            _replace(network, [tensor.to(self.device, non_blocking=True) for tensor in tensors])
        self._lent[network] = size
        return network


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _replace(network: nn.Module, tensors: list[Tensor]) -> None:
    """Put tensors in the place of a network's own: graphs that are still needed keep the former ones."""
    names = [*(name for name, _ in network.named_parameters()), *(name for name, _ in network.named_buffers())]
    for name, tensor in zip(names, tensors, strict=True):
        module, _, own = name.rpartition(".")
        owner = network.get_submodule(module)
        if own in owner._parameters:
            owner._parameters[own] = nn.Parameter(tensor, requires_grad=False)
        else:
            owner._buffers[own] = tensor
