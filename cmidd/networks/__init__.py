"""The zoo: every network is built here, by name, with its weights drawn from an explicit generator."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cmidd.errors import SettingError
from cmidd.networks.base import Network
from cmidd.networks.convnet import ConvNet
from cmidd.networks.resnet import resnet18

__all__ = ["NETWORKS", "ConvNet", "Network", "build_network", "reset_parameters"]

# Adding a network is one line: name -> function(image_shape, num_classes, **options).
NETWORKS: dict[str, Callable[..., Network]] = {"convnet": ConvNet, "resnet18": resnet18}


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
        SettingError: for an unknown name, or a network that such images do not fit.
    """
    if name not in NETWORKS:
        raise SettingError(f"network={name}: unknown; choose one of {', '.join(sorted(NETWORKS))}")
    with torch.device("meta"):
        network = NETWORKS[name](image_shape, num_classes, **options)
    network.to_empty(device="cpu")
    reset_parameters(network, generator)
    return network.to(device)


@torch.no_grad()
def reset_parameters(network: nn.Module, generator: torch.Generator) -> None:
    """Draw PyTorch's default initialisation from ``generator`` instead of from the global state.

    Convolution and linear weights and biases are U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which is what
    ``kaiming_uniform_(a=sqrt(5))`` comes to; norms start at weight 1 and bias 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            module.weight.uniform_(-bound, bound, generator=generator)
            if module.bias is not None:
                module.bias.uniform_(-bound, bound, generator=generator)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
            module.reset_parameters()
