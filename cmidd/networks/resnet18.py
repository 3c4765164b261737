"""ResNet18, the teacher of the CMI paper (He et al., 2016)."""

from typing import Literal

from cmidd.networks._resnet import NormName, ResNet


class ResNet18(ResNet):
    """11,173,962 parameters and 512 features at 3x32x32 with ten classes."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        norm: NormName = "instancenorm",
        downsampling: Literal["stride", "avgpool"] = "stride",
    ) -> None:
        super().__init__("resnet18", image_shape, num_classes, 2, 64, norm, downsampling)
