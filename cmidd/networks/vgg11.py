"""VGG11 for small images, of the cross-architecture pool (Simonyan & Zisserman, 2015)."""

from typing import Literal

from torch import Tensor, nn

from cmidd.networks._network import Network, normalization, require_side

WIDTHS = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # a pooling after each group


class VGG11(Network):
    """Eight convolutions and one linear layer. 9,231,114 parameters and 512 features at 3x32x32 with ten classes.

    The first convolution pads one-channel images by 3, so that 28x28 becomes 32x32.

    Raises:
        SettingError: when the images are not square, or smaller than 32x32 (28x28 with one channel).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        norm: Literal["instancenorm", "batchnorm"] = "instancenorm",
    ) -> None:
        super().__init__()
        channels, side, _ = image_shape
        require_side("vgg11", image_shape, 28 if channels == 1 else 32)
        padding = 3 if channels == 1 else 1
        side += 2 * padding - 2
        layers: list[nn.Module] = []
        for group in WIDTHS:
            for width in group:
                layers += [nn.Conv2d(channels, width, 3, padding=padding), normalization(norm, width, side, side)]
                layers += [nn.ReLU()]
                channels, padding = width, 1
            layers += [nn.MaxPool2d(2)]
            side //= 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * side * side, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features.flatten(1)
