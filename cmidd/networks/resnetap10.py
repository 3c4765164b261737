"""ResNetAP10, that IDC condenses ImageNet with: average pooling in place of stride."""

import math
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from cmidd.networks._network import Network, normalization, require_side
from cmidd.networks._resnet import Block, NormName, draw_by_fan_out

# Up to which side of the images the first convolution has which kernel, and by how much its output is pooled.
STEMS = ((64, 3, 1), (128, 3, 2), (math.inf, 7, 4))


class ResNetAP10(Network):
    """One block a stage, every halving by average pooling, the last maps averaged whole.

    4,903,242 parameters at 3x128x128 with ten classes, 4,910,922 at 3x224x224; 512 features. ``width`` is 64,
    and 32 for CIFAR in the reference (Efficient-Dataset-Condensation/models/resnet_ap.py:158-225 at ceac95a), where
    images up to 128 have a 3x3 stem and larger ones a 7x7 one, and ``norm`` is instance norm (argument.py:111).

    Raises:
        SettingError: when the images are not square, or smaller than 16x16.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: Annotated[int, Field(strict=True, gt=0, le=8192)] = 64,
        norm: NormName = "instancenorm",
    ) -> None:
        super().__init__()
        channels, side, _ = image_shape
        require_side("resnetap10", image_shape, 16)
        kernel, pool = next((kernel, pool) for most, kernel, pool in STEMS if side <= most)
        side //= pool
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, kernel, padding=kernel // 2, bias=False),
            normalization(norm, width, side, side),
            nn.ReLU(),
            nn.AvgPool2d(pool) if pool > 1 else nn.Identity(),
        )
        stages = []
        for stage in range(4):
            side = side // 2 if stage else side
            width_in = width * 2 ** max(0, stage - 1)
            stages.append(Block(width_in, width * 2**stage, stage > 0, True, norm, side))
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(width * 8, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.stages(self.stem(images)), 1).flatten(1)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Convolutions from N(0, 2 / fan_out), as the reference draws them; the rest as PyTorch does."""
        super().initialise(generator)
        draw_by_fan_out(self, generator)
