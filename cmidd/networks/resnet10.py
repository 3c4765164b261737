"""ResNet10, the second evaluation network of IDC (He et al., 2016)."""

from typing import Annotated

from pydantic import Field

from cmidd.networks._resnet import NormName, ResNet


class ResNet10(ResNet):
    """One block per stage, the last maps averaged whole, convolutions drawn from N(0, 2 / fan_out).

    ``width`` is 32 for CIFAR and 64 for other data in the reference (Efficient-Dataset-Condensation/models/resnet.py),
    whose features are eight times as many at any size of the images.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        num_classes: int,
        *,
        width: Annotated[int, Field(strict=True, gt=0, le=8192)] = 32,
        norm: NormName = "batchnorm",
    ) -> None:
        super().__init__("resnet10", image_shape, num_classes, 1, width, norm, "stride", as_idc=True)
