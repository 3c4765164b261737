"""Multi-formation: one stored image holds a grid of training images (IDC, Kim et al., ICML 2022; IDM's partitioning).

A stored image is cut into ``factor x factor`` tiles, and each is enlarged to full size: ``n`` stored images
stand for ``n * factor^2`` training images.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor


@dataclass(frozen=True)
class Formation:
    """How stored images stand for training images; the default is: as they are.

    Attributes:
        factor: tiles per side.
        tile_order: all images of the first tile come first, and so on; tiles go along ``rows`` (IDC) or
            down ``columns`` (IDM).
        shrink: how real images are made small for the initial grid (``nearest`` in IDC, ``bilinear`` in IDM).
        stored_as: ``input`` (network input space) or ``pixels`` (in [0, 1], clamped; IDC).
    """

    factor: Annotated[int, Field(strict=True, gt=0, le=64)] = 1
    tile_order: Literal["rows", "columns"] = "rows"
    shrink: Literal["nearest", "bilinear"] = "nearest"
    stored_as: Literal["input", "pixels"] = "input"

    @property
    def tiles(self) -> int:
        """How many training images one stored image holds."""
        return self.factor**2

    def cut(self, images: Tensor) -> Tensor:
        """The training images ``[N * tiles, C, H, W]`` in stored images ``[N, C, H, W]``, differentiable.

        Where the factor does not divide the side, the image is padded at the right and bottom with mid-grey.
        """
        if self.factor == 1:
            return images
        height, width = images.shape[2:]
        side_y, side_x = -(-height // self.factor), -(-width // self.factor)
        grey = 0.5 if self.stored_as == "pixels" else 0.0
        padding = (0, side_x * self.factor - width, 0, side_y * self.factor - height)
        padded = F.pad(images, padding, value=grey)
        small = [
            padded[:, :, row * side_y : (row + 1) * side_y, column * side_x : (column + 1) * side_x]
            for row, column in self._cells()
        ]
        return F.interpolate(torch.cat(small), size=(height, width), mode="bilinear", align_corners=False)

    def repeat(self, labels: Tensor) -> Tensor:
        """The labels of :meth:`cut`'s images, hard ``[N]`` or soft ``[N, C]``."""
        return torch.cat([labels] * self.tiles) if self.tiles > 1 else labels

    def tile(self, images: Tensor) -> Tensor:
        """Make stored images ``[N, C, H, W]`` of real ones ``[N * tiles, C, H, W]``, in the order of :meth:`cut`.

        Where the factor does not divide the side, the first cells are a pixel larger.
        """
        if self.factor == 1:
            return images.clone()
        grid = images[: len(images) // self.tiles].clone()
        starts_y, starts_x = (self._starts(side) for side in images.shape[2:])
        for (row, column), part in zip(self._cells(), images.chunk(self.tiles), strict=True):
            top, bottom, left, right = starts_y[row], starts_y[row + 1], starts_x[column], starts_x[column + 1]
            grid[:, :, top:bottom, left:right] = F.interpolate(part, (bottom - top, right - left), mode=self.shrink)
        return grid

    def _cells(self) -> Iterator[tuple[int, int]]:
        """Row and column of every tile, in order."""
        for first in range(self.factor):
            for second in range(self.factor):
                yield (first, second) if self.tile_order == "rows" else (second, first)

    def _starts(self, side: int) -> list[int]:
        small, larger = divmod(side, self.factor)
        return [cell * small + min(cell, larger) for cell in range(self.factor + 1)]
