"""What every network of the zoo offers: an embedding and a classifier on top of it."""

from abc import abstractmethod

from torch import Tensor, nn


class Network(nn.Module):
    """A classifier: ``forward(x) = classifier(embed(x))``."""

    classifier: nn.Linear

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """The features before the classifier: images ``[N, C, H, W]`` to ``[N, D]``."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, num_classes]``."""
        logits: Tensor = self.classifier(self.embed(images))
        return logits


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
