"""The zoo: every network is built here, by name, with its weights drawn from an explicit generator."""

from collections.abc import Callable
from typing import Any

import torch

from cmidd.errors import SettingError
from cmidd.networks.alexnet import AlexNet
from cmidd.networks.base import Network
from cmidd.networks.convnet import ConvNet
from cmidd.networks.lenet import LeNet
from cmidd.networks.mlp import MLP
from cmidd.networks.resnet import resnet10, resnet18
from cmidd.networks.vgg import VGG11

__all__ = ["NETWORKS", "ConvNet", "Network", "build_network"]

# Adding a network is one line: name -> function(image_shape, num_classes, **options).
NETWORKS: dict[str, Callable[..., Network]] = {
    "convnet": ConvNet,
    "mlp": MLP,
    "lenet": LeNet,
    "alexnet": AlexNet,
    "vgg11": VGG11,
    "resnet10": resnet10,
    "resnet18": resnet18,
}

MOST_PARAMETERS = 2 * 10**9


def build_network(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Network:
    """A new network for images ``[C, H, W]``, initialised as PyTorch does by default.

    Raises:
        SettingError: as :func:`blank_network`.
    """
    network = blank_network(name, image_shape, num_classes, **options)
    network.to_empty(device="cpu")
    network.initialise(generator)
    return network.to(device)


def blank_network(name: str, image_shape: tuple[int, int, int], num_classes: int, **options: Any) -> Network:
    """A network without numbers, which costs nothing: does it fit such images?

    Raises:
        SettingError: for an unknown name, or a network that such images do not fit.
    """
    if name not in NETWORKS:
        raise SettingError(f"network={name}: unknown; choose one of {', '.join(sorted(NETWORKS))}")
    try:
        with torch.device("meta"):
            network = NETWORKS[name](image_shape, num_classes, **options)
    except SettingError:
        raise
    except (RuntimeError, ValueError) as error:  # of a layer that cannot be so
        words = " ".join(f"network.{option}={value}" for option, value in options.items())
        raise SettingError(f"network={name}: {words}: {error}; choose others") from error
    if (size := sum(parameter.numel() for parameter in network.parameters())) > MOST_PARAMETERS:
        raise SettingError(
            f"network={name}: has {size:,} parameters for images of {'x'.join(map(str, image_shape))}, at most "
            f"{MOST_PARAMETERS:,} are trained; choose a smaller network.width, or smaller images"
        )
    return network
