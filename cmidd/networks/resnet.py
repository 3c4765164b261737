"""ResNet18 for small images, the teacher of the CMI paper (He et al., 2016; methods.md section 2)."""

import torch.nn.functional as F
from torch import Tensor, nn

from cmidd.errors import SettingError
from cmidd.networks.base import Network, normalization


class _Block(nn.Module):
    """Two 3x3 convolutions with norms and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int, norm: str, side: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.norm1 = normalization(norm, channels, side, side)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = normalization(norm, channels, side, side)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False),
                normalization(norm, channels, side, side),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(out)) + self.shortcut(x))


class ResNet(Network):
    """CIFAR-style residual network: a 3x3 stem without pooling, four stages, average pooling."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int, blocks: tuple[int, ...], norm: str) -> None:
        super().__init__()
        channels, side, image_width = image_shape
        if side != image_width or side < 16:
            raise SettingError(
                f"network=resnet18: takes square images from 16x16 up, got {side}x{image_width}; "
                "use convnet (cmi.teacher=convnet for CMI's teachers)"
            )
        self.stem = nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=1, bias=False), normalization(norm, 64, side, side), nn.ReLU()
        )
        stages: list[nn.Module] = []
        width_in = 64
        for stage, count in enumerate(blocks):
            width = 64 * 2**stage
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                side = (side + stride - 1) // stride
                stages.append(_Block(width_in, width, stride, norm, side))
                width_in = width
        self.stages = nn.Sequential(*stages)
        self.pool = min(4, side)
        self.classifier = nn.Linear(width_in * (side // self.pool) ** 2, num_classes)

    def embed(self, images: Tensor) -> Tensor:
        return F.avg_pool2d(self.stages(self.stem(images)), self.pool).flatten(1)


def resnet18(image_shape: tuple[int, int, int], num_classes: int) -> ResNet:
    """ResNet18 with instance norm: 11,173,962 parameters and 512 features at 3x32x32 with ten classes."""
    return ResNet(image_shape, num_classes, (2, 2, 2, 2), "instancenorm")
