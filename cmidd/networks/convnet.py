"""ConvNet, the network that all methods distil with by default (Gidaris & Komodakis, 2018)."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from cmidd.networks._network import Network, normalization
from cmidd.utils.errors import SettingError

NormName = Literal["instancenorm", "batchnorm", "layernorm", "groupnorm", "none"]
ActivationName = Literal["relu", "leakyrelu", "sigmoid", "swish"]
PoolingName = Literal["avg", "max", "none"]
ACTIVATIONS = {"relu": nn.ReLU, "leakyrelu": nn.LeakyReLU, "sigmoid": nn.Sigmoid, "swish": nn.SiLU}


class ConvNet(Network):
    """``depth`` blocks of 3x3 convolution, norm, activation and 2x2 pooling, then one linear layer.

    Takes square images from 8x8 up. The first convolution pads 28x28 images of one channel to 32x32, as
    the references do for MNIST. The default has 320,010 parameters at 3x32x32 with ten classes.

    Raises:
        SettingError: when the images are not square, or too small for ``depth``.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: Annotated[int, Field(strict=True, gt=0, le=8192)] = 128,
        depth: Annotated[int, Field(strict=True, gt=0, le=64)] = 3,
        norm: NormName = "instancenorm",
        activation: ActivationName = "relu",
        pooling: PoolingName = "avg",
    ) -> None:
        super().__init__()
        channels, side, image_width = image_shape
        if side != image_width or side < 8:
            raise SettingError(
                f"network=convnet: takes square images from 8x8 up, got {side}x{image_width}; resize them"
            )
        blocks: list[nn.Module] = []
        for block in range(depth):
            padding = 3 if block == 0 and (channels, side) == (1, 28) else 1
            side += 2 * padding - 2
            if side < (2 if pooling != "none" or norm == "instancenorm" else 1):
                raise SettingError(
                    f"network.depth={depth}: too deep for images of {image_width}x{image_width}; choose at most {block}"
                )
            blocks += [nn.Conv2d(channels if block == 0 else width, width, kernel_size=3, padding=padding)]
            blocks += [normalization(norm, width, side, side), ACTIVATIONS[activation]()]
            if pooling != "none":
                blocks += [nn.AvgPool2d(2) if pooling == "avg" else nn.MaxPool2d(2)]
                side //= 2
        self.features = nn.Sequential(*blocks)
        self.depth, self.width = depth, width
        self.classifier = nn.Linear(width * side * side, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features.flatten(1)

    def as_map(self, embedding: Tensor) -> Tensor:
        return embedding.unflatten(1, (self.width, -1))

    def layers(self, images: Tensor) -> list[Tensor]:
        """The output of every block, ``[N, width, H, W]``."""
        size = len(self.features) // self.depth
        maps = []
        for first in range(0, len(self.features), size):
            images = self.features[first : first + size](images)
            maps.append(images)
        return maps
