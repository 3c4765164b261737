"""Batched operations on images in network input space, differentiable in the images.

Those of DSA, of RDED, CutMix and mixup.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from cmidd.utils.transfer import to_device

MAX_SHIFT = 0.125  # of the image side
CUTOUT_SIDE = 0.5  # of the image side
MAX_SCALE = 1.2
MAX_ANGLE = math.radians(15)
TRIES = 10  # of a crop that fits, as torchvision's RandomResizedCrop has it
ZOOM_DRAWS = 2 * TRIES + 2
LONGEST = 4 / 3  # side of such a crop, of its other side


def brightness(images: Tensor, u: Tensor) -> Tensor:
    """Add ``u - 0.5`` to every value; ``u`` in [0, 1), one per image ``[N]``, as in the operations below."""
    return images + (_per_image(u) - 0.5)


def saturation(images: Tensor, u: Tensor) -> Tensor:
    """Scale the distance of each channel to the pixel's grey value by ``2 u``."""
    grey = images.mean(1, keepdim=True)
    return (images - grey) * (2 * _per_image(u)) + grey


def contrast(images: Tensor, u: Tensor) -> Tensor:
    """Scale the distance of each value to the image's mean by ``u + 0.5``."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (_per_image(u) + 0.5) + mean


def crop(images: Tensor, shift_y: Tensor, shift_x: Tensor) -> Tensor:
    """Look ``shift`` pixels (integers ``[N]``) further down and right; zeros beyond the border."""
    height, width = images.shape[2:]
    rows = _offsets(height, images.device) + shift_y[:, None]
    columns = _offsets(width, images.device) + shift_x[:, None]
    inside = _inside(rows, height)[:, :, None] & _inside(columns, width)[:, None, :]
    every = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[
        every, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    ]
    return moved.permute(0, 3, 1, 2) * inside[:, None]


def cutout(images: Tensor, centre_y: Tensor, centre_x: Tensor) -> Tensor:
    """Zero a square of half the image side around a centre (integers ``[N]``), clipped at the border."""
    return erased(images, *covered(centre_y, images.shape[2]), *covered(centre_x, images.shape[3]))


def erased(images: Tensor, top: Tensor, bottom: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Zero what lies between the first and the last of :func:`covered` rows and columns (integers ``[N]`` each)."""
    height, width = images.shape[2:]
    hole = _between(top, bottom, height)[:, :, None] & _between(left, right, width)[:, None, :]
    return images * ~hole[:, None]


def flip(images: Tensor, u: Tensor) -> Tensor:
    """Mirror left and right where ``u < 0.5``."""
    return torch.where(_per_image(u) < 0.5, images.flip(3), images)


def scale(images: Tensor, u_x: Tensor, u_y: Tensor, *, align_corners: bool = False) -> Tensor:
    """Sample the image on a grid stretched by factors in [1/1.2, 1.2) along x and y (> 1 shrinks it)."""
    return resampled(images, stretching(u_x, u_y), align_corners=align_corners)


def rotate(images: Tensor, u: Tensor, *, align_corners: bool = False) -> Tensor:
    """Rotate by an angle in [-15, 15) degrees."""
    return resampled(images, rotation(u), align_corners=align_corners)


def stretching(u_x: Tensor, u_y: Tensor) -> Tensor:
    """The maps ``[N, 2, 3]`` of :func:`scale`."""
    smallest = 1 / MAX_SCALE
    factor_x, factor_y = (u * (MAX_SCALE - smallest) + smallest for u in (u_x, u_y))
    zero = torch.zeros_like(factor_x)
    return _rows([factor_x, zero, zero], [zero, factor_y, zero])


def rotation(u: Tensor) -> Tensor:
    """The maps ``[N, 2, 3]`` of :func:`rotate`."""
    angle = (u - 0.5) * 2 * MAX_ANGLE
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return _rows([cos, -sin, zero], [sin, cos, zero])


def resampled(images: Tensor, maps: Tensor, *, align_corners: bool = False) -> Tensor:
    """Each image at the grid that its affine map of ``[N, 2, 3]`` makes, bilinear, zeros outside."""
    return _sampled(images, F.affine_grid(maps, list(images.shape), align_corners=align_corners), align_corners)


def shuffle(images: Tensor, u_columns: Tensor, u_rows: Tensor) -> Tensor:
    """Cut every image into f bands of columns, and these into f of rows, and lay each in another order (RDED).

    Args:
        u_columns: uniform numbers ``[N, f]``, whose order is that of the bands; ``u_rows`` likewise. The last band has
            what the others leave.
    """
    height, width = images.shape[2:]
    columns, rows = _in_bands(u_columns, width), _in_bands(u_rows, height)
    every = torch.arange(len(images), device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[every, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _in_bands(u: Tensor, length: int) -> Tensor:
    """Positions ``[N, length]`` in bands that are ordered by ``u`` ``[N, f]``."""
    bands = u.shape[1]
    band = (torch.arange(length, device=u.device) // max(1, length // bands)).clamp(max=bands - 1)
    return u[:, band].argsort(dim=1, stable=True)


def zoom(images: Tensor, u: Tensor, smallest: float) -> Tensor:
    """A part of every image, resized to the whole (torchvision's RandomResizedCrop, bilinear).

    Args:
        u: uniform numbers ``[N, ZOOM_DRAWS]``: ten tries of an area in [``smallest``, 1) of the image's and of a shape
            between 3:4 and 4:3, of which the first that fits counts, otherwise the whole image; and the place.
    """
    height, width = images.shape[2:]
    area = height * width * (smallest + (1 - smallest) * u[:, :TRIES])
    shape = (math.log(LONGEST) * (2 * u[:, TRIES : 2 * TRIES] - 1)).exp()
    tall, wide = (area / shape).sqrt().round(), (area * shape).sqrt().round()
    fits = (tall <= height) & (wide <= width) & (tall > 0) & (wide > 0)
    first = fits.int().argmax(1, keepdim=True)
    rows, columns = (
        torch.where(fits.any(1), sides.gather(1, first)[:, 0], float(whole))
        for sides, whole in ((tall, height), (wide, width))
    )
    y, x = (_positions(length, count, u[:, draw]) for length, count, draw in ((height, rows, -2), (width, columns, -1)))
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), -1)
    return _sampled(images, grid, align_corners=False)


def _positions(length: int, count: Tensor, u: Tensor) -> Tensor:
    """Where ``length`` pixels look that show ``count`` (``[N]``) of ``length``: ``[N, length]`` in [-1, 1]."""
    start = (u * (length - count + 1)).floor()
    within = (_offsets(length, u.device) + 0.5) * (count / length)[:, None] - 0.5
    # No pixel beyond the part is looked at.
    seen = start[:, None] + torch.minimum(within.clamp(min=0), (count - 1)[:, None])
    return (2 * seen + 1) / length - 1


def cutmix(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Replace one box, the same in all images, by that of another image (CutMix, Yun et al., ICCV 2019).

    Returns the images, for each the index of its partner ``[N]``, and the share of pixels that are its own:
    train on ``share * CE(own label) + (1 - share) * CE(partner's label)``.
    """
    height, width = images.shape[2:]
    (partner,) = to_device([torch.randperm(len(images), generator=generator)], images.device)
    u = torch.rand(3, generator=generator).tolist()
    side = math.sqrt(1 - u[0])  # The kept share is drawn from Beta(1, 1), the uniform distribution.
    (top, bottom), (left, right) = (
        (max(0, int(centre * length) - cut // 2), min(length, int(centre * length) + cut // 2))
        for centre, length, cut in ((u[1], height, int(height * side)), (u[2], width, int(width * side)))
    )
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, partner, 1 - (bottom - top) * (right - left) / (height * width)


def mixup(images: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor, float]:
    """Mix every image with another in one share, drawn from Beta(alpha, alpha) (mixup, Zhang et al., ICLR 2018).

    Returns as :func:`cutmix`.
    """
    from scipy.special import betaincinv  # A tenth of a second, which only who mixes so waits for.

    (partner,) = to_device([torch.randperm(len(images), generator=generator)], images.device)
    u = float(torch.rand((), generator=generator, dtype=torch.float64))
    share = float(betaincinv(alpha, alpha, u))  # The quantile: scipy draws from no generator of torch's.
    return share * images + (1 - share) * images[partner], partner, share


def _per_image(u: Tensor) -> Tensor:
    return u[:, None, None, None]


def _offsets(length: int, device: torch.device) -> Tensor:
    return torch.arange(length, device=device)[None]


def _inside(positions: Tensor, length: int) -> Tensor:
    return (positions >= 0) & (positions < length)


def cutout_side(length: int) -> int:
    return int(CUTOUT_SIDE * length + 0.5)


def covered(centre: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """The first and the last row (or column) of ``length`` that a square of half the side around ``centre`` covers.

    The reference clamps the square's indices to the image, so a square that reaches beyond the border
    still covers the border row; clamped ends do the same.
    """
    side = cutout_side(length)
    return (centre - side // 2).clamp(0, length - 1), (centre - side // 2 + side - 1).clamp(0, length - 1)


def _between(first: Tensor, last: Tensor, length: int) -> Tensor:
    """Which of ``length`` positions lie between two of them, ``[N, length]``."""
    positions = _offsets(length, first.device)
    return (positions >= first[:, None]) & (positions <= last[:, None])


def _rows(*rows: list[Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, -1) for row in rows], 1)


def _sampled(images: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
    """Images resampled at a grid ``[N, H, W, 2]`` of x and y in [-1, 1], bilinear, zeros outside."""
    # On mps torch 2.11 has no gradient of grid_sample.
    if images.is_mps or (images.is_cuda and torch.are_deterministic_algorithms_enabled()):
        return bilinear(images, grid, align_corners)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=align_corners)


def bilinear(images: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
    """``grid_sample``, differentiable in the images only, by indexing: CUDA can add up its gradient in order,
    and mps has one.
    """
    height, width = images.shape[2:]
    x, y = (
        (grid[..., axis] + 1) / 2 * (length - 1) if align_corners else ((grid[..., axis] + 1) * length - 1) / 2
        for axis, length in enumerate((width, height))
    )
    every = torch.arange(len(images), device=images.device)[:, None, None]
    pixels, sampled = images.permute(0, 2, 3, 1), torch.zeros_like(images.permute(0, 2, 3, 1))
    for row in (y.floor(), y.floor() + 1):
        for column in (x.floor(), x.floor() + 1):
            weight = (1 - (y - row).abs()) * (1 - (x - column).abs())
            weight = weight * (_inside(row, height) & _inside(column, width))
            corner = pixels[every, row.long().clamp(0, height - 1), column.long().clamp(0, width - 1)]
            sampled = sampled + weight[..., None] * corner
    return sampled.permute(0, 3, 1, 2)
