"""Residual networks for small images (He et al., 2016)."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmidd.networks._network import Network, normalization, require_side

NormName = Literal["instancenorm", "batchnorm"]


class Block(nn.Module):
    """Two 3x3 convolutions with norms and a shortcut; halves the side by stride, or by average pooling."""

    def __init__(self, channels_in: int, channels: int, halve: bool, pooled: bool, norm: str, side: int) -> None:
        super().__init__()
        stride = 2 if halve and not pooled else 1
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = normalization(norm, channels, side, side)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = normalization(norm, channels, side, side)
        self.pool: nn.Module = nn.AvgPool2d(2) if halve and pooled else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if halve or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False),
                nn.AvgPool2d(2) if halve and pooled else nn.Identity(),
                normalization(norm, channels, side, side),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.pool(F.relu(self.norm1(self.conv1(x))))
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x))


class ResNet(Network):
    """A 3x3 stem without pooling, four stages of ``blocks`` residual blocks, the width doubling, average pooling.

    ``as_idc``: images from 65 pixels on have a stem that pools, the last maps are averaged whole, and convolutions
    drawn from N(0, 2 / fan_out) (Efficient-Dataset-Condensation/models/resnet.py at ceac95a).

    Raises:
        SettingError: when the images are not square, or too small for the norm.
    """

    def __init__(
        self,
        name: str,
        image_shape: tuple[int, int, int],
        num_classes: int,
        blocks: int,
        width: int,
        norm: str,
        downsampling: str,
        as_idc: bool = False,
    ) -> None:
        super().__init__()
        channels, side, _ = image_shape
        # An instance norm needs more than one pixel after three halvings.
        require_side(name, image_shape, 8 if norm == "batchnorm" else 16)
        self.as_idc = as_idc
        pooled = downsampling == "avgpool"
        kernel, stride = (7, 2) if as_idc and side > 128 else (3, 1)
        stem: list[nn.Module] = [nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)]
        reduced = as_idc and side > 64
        side = (side + stride - 1) // stride
        stem += [normalization(norm, width, side, side), nn.ReLU()]
        if reduced:
            stem += [nn.MaxPool2d(3, 2, 1)]
            side = (side + 1) // 2
        self.stem = nn.Sequential(*stem)
        stages: list[nn.Module] = []
        width_in = width
        for stage in range(4):
            for block in range(blocks):
                halve = stage > 0 and block == 0
                if halve:
                    side = side // 2 if pooled else (side + 1) // 2
                stages.append(Block(width_in, width * 2**stage, halve, pooled, norm, side))
                width_in = width * 2**stage
        self.stages = nn.Sequential(*stages)
        # The reference's average-pooling variant keeps the last maps, the others pool 4x4 of them.
        self.pool = 1 if pooled else side if as_idc else min(4, side)
        self.classifier = nn.Linear(width_in * (side // self.pool) ** 2, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(self.stages(self.stem(images)), self.pool).flatten(1)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        if self.as_idc:
            draw_by_fan_out(self, generator)


@torch.no_grad()
def draw_by_fan_out(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all convolutions from N(0, 2 / fan_out), as IDC's networks have them."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
            module.weight.normal_(0, math.sqrt(2 / fan_out), generator=generator)
