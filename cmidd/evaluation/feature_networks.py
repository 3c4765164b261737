"""Networks trained on the whole training set, in whose features coresets are chosen."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmidd.compute.kept import load_trained, train_kept
from cmidd.compute.training import predictions, refuse_diverged
from cmidd.core.context import Context
from cmidd.data.split import Split
from cmidd.evaluation.protocols import FeatureSettings
from cmidd.networks import Network
from cmidd.utils import cache, clock, files, locks, tensor_files
from cmidd.utils.random_streams import Streams

log = logging.getLogger(__name__)


class WatchedNetwork(nn.Module):
    """A network in training, and how often it forgot each of the ``count`` training images.

    An image is forgotten where it was classified rightly after one epoch and is wrongly after the next; DeepCore
    (forgetting.py:31-37) looks at each image once an epoch too, when its batch comes. Both tensors are buffers, so that
    they are kept with the network and gone on with.

    Attributes:
        forgotten: how often, ``[N]``.
        right: whether each is classified rightly after the last epoch, ``[N]``; none before the first.
    """

    forgotten: Tensor
    right: Tensor

    def __init__(self, network: Network, count: int, device: torch.device) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("forgotten", torch.zeros(count, dtype=torch.int32, device=device))
        self.register_buffer("right", torch.zeros(count, dtype=torch.bool, device=device))

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, num_classes]``."""
        logits: Tensor = self.network(images)
        return logits

    def look(self, data: Split) -> None:
        """Count what was forgotten since the last look at these images."""
        right = predictions(self, data) == data.labels
        self.train()
        self.forgotten += self.right & ~right
        self.right.copy_(right)


def feature_files(context: Context, settings: FeatureSettings) -> tuple[dict[str, Any], list[Path]]:
    """What makes the networks, and the file of each.

    Raises:
        SettingError: when the folder holds others.
    """
    training = {name: value for name, value in asdict(settings).items() if name != "networks"}
    made_by = {**context.made_by, "network": context.network, "training": training}
    names = [f"network_{index:03d}.safetensors" for index in range(settings.networks)]
    return made_by, cache.members(context.buffers / "baselines" / "features", context.data.name, made_by, names)


def feature_networks(context: Context, settings: FeatureSettings) -> list[WatchedNetwork]:
    """The networks, frozen; trained on first use, each kept after its epochs and gone on with."""
    made_by, paths = feature_files(context, settings)
    train = context.data.train

    def make(index: int) -> None:
        what = f"feature network {index + 1}/{settings.networks}"
        log.info("training %s on the whole data set (%d epochs), once for all runs", what, settings.epochs)
        streams = Streams(0).child("features", index)
        network = WatchedNetwork(context.new_network(streams("network")), len(train), train.device)
        keep = files.unfinished(paths[index])

        def look(_: int) -> None:
            network.look(train)

        train_kept(network, train, settings.recipe, streams, what=what, keep=keep, made_by=made_by, after=look)
        refuse_diverged(network.parameters(), f"evaluation.features.lr={settings.lr:g}", f"training {what}")
        tensor_files.write_tensors(paths[index], network.state_dict(), {"made_by": made_by})

    cache.describe(paths, made_by)
    with clock.timed("features"):
        locks.make_missing(paths, lambda mine: make(mine[0]))
    networks = []
    for path in paths:
        files.remove_unfinished(path)
        network = WatchedNetwork(context.new_network(torch.Generator()), len(train), train.device)
        load_trained(network, path, made_by)
        networks.append(network.eval().requires_grad_(False))
    return networks
