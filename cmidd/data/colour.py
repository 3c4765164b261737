"""Grey images as colour ones, and colour ones as grey."""

from typing import Literal

import torch

from cmidd.data.split import Split

# ITU-R BT.601 luma in units of 1/65536, as Pillow has it (src/libImaging/Convert.c, L24).
LUMA = (19595, 38470, 7471)


def in_channels(split: Split, channels: Literal[1, 3] | None) -> Split:
    """Pixels uint8 ``[N, C, H, W]`` with ``channels``: a grey one three times, a colour one by its
    luma; None: as they are.

    Equal to Pillow's ``convert("L")``, pixel for pixel.
    """
    images = split.images
    if channels is None or images.shape[1] == channels:
        return split
    if channels == 3:
        return Split(images.expand(-1, 3, -1, -1).contiguous(), split.labels)
    red, green, blue = (weight * images[:, [number]].int() for number, weight in enumerate(LUMA))
    return Split(((red + green + blue + 2**15) >> 16).to(torch.uint8), split.labels)
