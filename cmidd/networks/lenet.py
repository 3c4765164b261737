"""LeNet, of the references' cross-architecture pool (LeCun et al., 1998; DatasetCondensation/networks.py)."""

from torch import Tensor, nn

from cmidd.networks._network import Network, require_side


class LeNet(Network):
    """Two 5x5 convolutions and three linear layers. 62,006 parameters at 3x32x32 with ten classes.

    Raises:
        SettingError: when the images are not square, or smaller than 16x16.
    """

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        channels, side, _ = image_shape
        require_side("lenet", image_shape, 16)
        padding = 2 if channels == 1 else 0
        side = ((side + 2 * padding - 4) // 2 - 4) // 2
        self.features = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * side * side, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(84, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features
