"""Images held as uint8 pixels on their device, a quarter of the memory, and normalised when they are taken."""

from collections.abc import Iterator

import torch
from torch import Tensor

from cmidd.data.preprocessing import Normalize, Preprocessing
from cmidd.data.split import Split


class Held(Split):
    """A :class:`Split` of float32 network input, of which only the pixels are kept.

    Whatever is taken (indices, a slice, a part) is normalised there and then, to the bits that the whole would have:
    channel normalisation looks at one value at a time. ``images`` makes all of them, each time it is read.

    Attributes:
        pixels: uint8 ``[N, C, H, W]``.
    """

    def __init__(self, pixels: Tensor, labels: Tensor, normalize: Normalize) -> None:
        object.__setattr__(self, "labels", labels)  # Splits are frozen.
        self.pixels, self._normalize = pixels, normalize
        # On the device: what lies elsewhere would be copied, and waited for, each time. So would 255, and by a number
        # from elsewhere a GPU does not divide but multiplies by its reciprocal, which rounds otherwise.
        self._most = torch.tensor(255.0, device=pixels.device)
        self._mean, self._std = (each.to(pixels.device)[:, None, None] for each in (normalize.mean, normalize.std))

    @property
    def images(self) -> Tensor:
        """All images ``[N, C, H, W]`` float32, made anew."""
        return self._input(self.pixels)

    @property
    def shape(self) -> torch.Size:
        return self.pixels.shape

    @property
    def device(self) -> torch.device:
        return self.pixels.device

    def __getitem__(self, indices: Tensor | slice) -> Split:
        return Split(self._input(self.pixels[indices]), self.labels[indices])

    def subset(self, indices: Tensor | slice) -> Split:
        return Held(self.pixels[indices], self.labels[indices], self._normalize)

    def parts(self, size: int) -> Iterator[Split]:
        for pixels, labels in zip(self.pixels.split(size), self.labels.split(size), strict=True):
            yield Split(self._input(pixels), labels)

    def _kind(self) -> str:
        return "float32 held as uint8"

    def _input(self, pixels: Tensor) -> Tensor:
        return pixels.float().div_(self._most).sub_(self._mean).div_(self._std)  # In place: twice as fast.


def held(split: Split, preprocessing: Preprocessing, device: str | torch.device) -> Split:
    """Raw pixels (uint8) as network input on ``device``: held as they are where ``preprocessing`` looks at one value at
    a time, made at once otherwise (a product of matrices rounds as the number of its rows has it).
    """
    labels = split.labels.to(device)
    if isinstance(preprocessing, Normalize):
        return Held(split.images.to(device), labels, preprocessing)
    return Split(preprocessing(unit(split.images)).to(device), labels)


def unit(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1] of uint8 ones."""
    return pixels.float().div_(255)
