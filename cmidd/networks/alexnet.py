"""AlexNet for small images, of the cross-architecture pool (Krizhevsky et al., 2012)."""

from typing import Literal

from torch import Tensor, nn

from cmidd.networks._network import Network, normalization, require_side


class AlexNet(Network):
    """Five convolutions and one linear layer. 1,872,202 parameters at 3x32x32 with ten classes.

    The first convolution pads one-channel images further, so that 28x28 becomes 32x32.

    Raises:
        SettingError: when the images are not square, or smaller than 8x8.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], num_classes: int, *, norm: Literal["none", "batchnorm"] = "none"
    ) -> None:
        super().__init__()
        channels, side, _ = image_shape
        require_side("alexnet", image_shape, 8)
        first_padding = 4 if channels == 1 else 2
        side += 2 * first_padding - 4
        layers: list[nn.Module] = []
        for width, kernel, padding, pool in (
            (128, 5, first_padding, True),
            (192, 5, 2, True),
            (256, 3, 1, False),
            (192, 3, 1, False),
            (192, 3, 1, True),
        ):
            layers += [nn.Conv2d(channels, width, kernel, padding=padding), normalization(norm, width, side, side)]
            layers += [nn.ReLU()]
            if pool:
                layers += [nn.MaxPool2d(2)]
                side //= 2
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * side * side, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features.flatten(1)
