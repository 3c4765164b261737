"""A multilayer perceptron, of the references' cross-architecture pool (DatasetCondensation/networks.py)."""

import math

from torch import Tensor, nn

from cmidd.networks._network import Network


class MLP(Network):
    """Two hidden layers of 128 units. 411,146 parameters at 3x32x32 with ten classes; takes any image size."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        width = 128
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(image_shape), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.classifier = nn.Linear(width, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return features
