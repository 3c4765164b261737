"""The interface of a network: an embedding and a classifier on top of it."""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from cmidd.utils.errors import SettingError


class Network(nn.Module):
    """A classifier: ``forward(x) = classifier(embed(x))``."""

    classifier: nn.Linear

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """The features before the classifier: images ``[N, C, H, W]`` to ``[N, D]``."""

    def as_map(self, embedding: Tensor) -> Tensor:
        """The embedding ``[N, D]`` as the feature map it was, ``[N, channels, locations]``.

        A network that does not say otherwise has D channels at one location.
        """
        return embedding[:, :, None]

    def layers(self, images: Tensor) -> list[Tensor]:
        """Feature maps of successive layers, the last one the embedding: only that, unless the network says more."""
        return [self.embed(images)]

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, num_classes]``."""
        logits: Tensor = self.classifier(self.embed(images))
        return logits

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw PyTorch's default initialisation from ``generator`` instead of from the global state.

        Convolution and linear weights and biases are U(-1/sqrt(fan_in), 1/sqrt(fan_in)), which is what
        ``kaiming_uniform_(a=sqrt(5))`` comes to; norms start at weight 1 and bias 0, other layers of torch as they do
        themselves. A network with parameters or buffers of its own overrides this to fill these as well.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                bound = 1 / math.sqrt(module.weight[0].numel())
                module.weight.uniform_(-bound, bound, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-bound, bound, generator=generator)
            elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
                module.reset_parameters()
            elif [*module.parameters(recurse=False), *module.buffers(recurse=False)] and callable(
                reset := getattr(module, "reset_parameters", None)
            ):
                with torch.random.fork_rng(devices=[]):
                    seed = torch.randint(2**62, (), generator=generator)
                    torch.default_generator.manual_seed(int(seed))
                    reset()


def normalization(name: str, channels: int, height: int, width: int) -> nn.Module:
    """The norm layers of the reference zoo. Instance norm is a GroupNorm with one channel per group, so a
    network in training mode and one in evaluation mode compute the same.
    """
    if name == "instancenorm":
        return nn.GroupNorm(channels, channels)
    if name == "groupnorm":
        return nn.GroupNorm(4, channels)
    if name == "layernorm":
        return nn.LayerNorm([channels, height, width])
    if name == "batchnorm":
        return nn.BatchNorm2d(channels)
    return nn.Identity()


def require_side(name: str, image_shape: tuple[int, int, int], smallest: int) -> None:
    """Refuse images that are not square or have a side below ``smallest``."""
    _, height, width = image_shape
    if height != width or height < smallest:
        raise SettingError(
            f"network={name}: takes square images from {smallest}x{smallest} up, got {height}x{width}; "
            "use convnet (cmi.teacher=convnet for CMI's teachers)"
        )
