"""Differentiable siamese augmentation (DSA, Zhao & Bilen, ICML 2021; IDC's composition of it), and RDED's.

A :class:`Transform` holds everything random. Applying it to real and to synthetic images alike is what
makes the augmentation siamese; one draw per image makes it an ordinary augmentation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from cmidd.data.image_ops import (
    MAX_SHIFT,
    ZOOM_DRAWS,
    brightness,
    contrast,
    covered,
    crop,
    cutout_side,
    erased,
    flip,
    resampled,
    rotation,
    saturation,
    shuffle,
    stretching,
    zoom,
)
from cmidd.data.known_labels import host_labels
from cmidd.data.split import Split
from cmidd.utils.transfer import to_device

MOST_PATCHES = 8
# How many random numbers each operation of a strategy uses; of DSA's as many are drawn as the first needs.
NUM_DRAWS = {
    "color": 3,
    "crop": 2,
    "cutout": 2,
    "flip": 1,
    "scale": 2,
    "rotate": 1,
    "shuffle": 2 * MOST_PATCHES,
    "zoom": ZOOM_DRAWS,
}
LEAST_DRAWS = 3


def _check_strategy(strategy: str) -> str:
    unknown = [name for name in strategy.split("_") if name not in NUM_DRAWS]
    if strategy != "none" and unknown:
        raise ValueError(f"unknown operation {unknown[0]!r}; join some of {', '.join(NUM_DRAWS)} by '_', or 'none'")
    return strategy


@dataclass(frozen=True)
class Augmentation:
    """Which augmentation to draw.

    Attributes:
        strategy: the operations, joined by ``_``, or ``none``.
        composition: ``one`` draws one operation of the strategy (DSA). ``idc`` applies flip, colour, one of
            crop, scale and rotate, then cutout, each where the strategy lists it. ``each``
            applies all that the strategy lists, in its order (RDED, SRe2L).
        align_corners: of the grids of scale and rotate; MTT uses true, every other method false.
        patches: into how many bands of rows and of columns ``shuffle`` cuts an image (RDED's factor).
        smallest: the least share of an image that ``zoom`` shows, resized to the whole (1 / factor in RDED).
    """

    strategy: Annotated[str, AfterValidator(_check_strategy)] = "color_crop_cutout_flip_scale_rotate"
    align_corners: bool = False
    composition: Literal["one", "idc", "each"] = "one"
    patches: Annotated[int, Field(strict=True, ge=1, le=MOST_PATCHES)] = 1
    smallest: Annotated[float, Field(strict=True, gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        unplaced = sorted({*self.strategy.split("_")} & {"shuffle", "zoom"}) if self.composition == "idc" else []
        if unplaced:
            raise ValueError(f"composition=idc has no place for {unplaced[0]}; give composition=each, or leave it out")

    @property
    def stages(self) -> list[list[str]]:
        """One operation of each stage is applied, stage after stage."""
        listed = [] if self.strategy == "none" else self.strategy.split("_")
        if self.composition == "one":
            stages = [listed]
        elif self.composition == "each":
            stages = [[name] for name in listed]
        else:
            order = (["flip"], ["color"], ["crop", "scale", "rotate"], ["cutout"])
            stages = [[name for name in stage if name in listed] for stage in order]
        return [stage for stage in stages if stage]

    def siamese(
        self, real: Split, synthetic: Split, num_classes: int, generator: torch.Generator
    ) -> tuple[Split, Split]:
        """Real and synthetic images, those of a class augmented alike; differentiable in both."""
        transform, both = self.per_class(num_classes, generator), (real, synthetic)
        plans = placed([transform.plan(split.images, host_labels(split.labels)) for split in both], real.device)
        first, second = (Split(plan(split.images), split.labels) for plan, split in zip(plans, both, strict=True))
        return first, second

    def per_class(self, num_classes: int, generator: torch.Generator) -> "Transform":
        """Operations and one set of parameters for each class: siamese matching of all classes at once."""
        drawn = [torch.randint(len(stage), (num_classes,), generator=generator) for stage in self.stages]
        return self._draw(drawn, num_classes, generator)

    def per_image(self, num_images: int, generator: torch.Generator) -> "Transform":
        """Operations for the batch, parameters for each image: training a network."""
        drawn = [torch.randint(len(stage), (1,), generator=generator).expand(num_images) for stage in self.stages]
        return self._draw(drawn, num_images, generator)

    def _draw(self, operations: list[Tensor], count: int, generator: torch.Generator) -> "Transform":
        widths = [max(LEAST_DRAWS, *(NUM_DRAWS[name] for name in stage)) for stage in self.stages]
        u = [torch.rand(count, width, generator=generator) for width in widths]
        return Transform(self, operations, u)


@dataclass(frozen=True)
class Transform:
    """Drawn augmentations. For every stage: ``operations`` ``[G]`` (index into the stage's operations) and
    numbers ``u`` ``[G, 3]`` (more for ``shuffle`` and ``zoom``) in [0, 1).

    Calling it needs, for every image, which of the G draws it gets (``draw_of_image`` ``[N]``; by default
    image i gets draw i).
    """

    augmentation: Augmentation
    operations: list[Tensor]
    u: list[Tensor]

    def __call__(self, images: Tensor, draw_of_image: Tensor | None = None) -> Tensor:
        """Augmented images, same shape ``[N, C, H, W]``."""
        draws = None if draw_of_image is None else host_labels(draw_of_image)
        (plan,) = placed([self.plan(images, draws)], images.device)
        return plan(images)

    def plan(self, like: Tensor, draw_of_image: Tensor | None = None) -> "Plan":
        """What each image of a batch gets.

        Args:
            like: images of the size and type of the batch's.
            draw_of_image: as above, on the CPU.
        """
        stages = []
        for names, operation, u in zip(self.augmentation.stages, self.operations, self.u, strict=True):
            if draw_of_image is not None:
                operation, u = operation[draw_of_image], u[draw_of_image]
            u, present = u.to(like.dtype), operation.unique().tolist()
            if len(present) == 1:
                stages.append([Part(names[present[0]], _numbers(names[present[0]], u, like.shape[2:]))])
                continue
            members = [(index, (operation == index).nonzero().flatten()) for index in present]
            stages.append([Part(names[i], _numbers(names[i], u[own], like.shape[2:]), own) for i, own in members])
        return Plan(self._apply, stages)

    def _apply(self, operation: str, images: Tensor, numbers: Tensor) -> Tensor:
        if operation == "color":
            return contrast(saturation(brightness(images, numbers[:, 0]), numbers[:, 1]), numbers[:, 2])
        if operation == "crop":
            return crop(images, *numbers.unbind(1))
        if operation == "cutout":
            return erased(images, *numbers.unbind(1))
        if operation == "flip":
            return flip(images, numbers[:, 0])
        if operation == "shuffle":
            patches = self.augmentation.patches
            return shuffle(images, numbers[:, :patches], numbers[:, MOST_PATCHES : MOST_PATCHES + patches])
        if operation == "zoom":
            return zoom(images, numbers, self.augmentation.smallest)
        return resampled(images, numbers, align_corners=self.augmentation.align_corners)


def _numbers(operation: str, u: Tensor, size: Sequence[int]) -> Tensor:
    """What an operation on images of a ``size`` (height and width) needs of the random numbers ``u`` ``[M, ...]``.

    A row for each image; made on the CPU, for on a GPU each of these small steps would be launched by itself.
    """
    if operation == "crop":
        shifts = [int(MAX_SHIFT * side + 0.5) for side in size]
        return torch.stack([_integers(u[:, i], 2 * shift + 1) - shift for i, shift in enumerate(shifts)], 1)
    if operation == "cutout":
        # The centre may lie one pixel outside when the square's side is even, as in the reference.
        centres = [_integers(u[:, i], side + 1 - cutout_side(side) % 2) for i, side in enumerate(size)]
        return torch.stack([end for each, side in zip(centres, size, strict=True) for end in covered(each, side)], 1)
    if operation == "scale":
        return stretching(u[:, 0], u[:, 1])
    return rotation(u[:, 0]) if operation == "rotate" else u


@dataclass(frozen=True)
class Part:
    """The images of a batch that get one operation of a stage: what it needs for each, ``numbers`` ``[M, ...]``, and
    their indices ``members`` ``[M]``, where those are not all.
    """

    operation: str
    numbers: Tensor
    members: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """An augmentation of the images of one batch, stage after stage."""

    apply: Callable[[str, Tensor, Tensor], Tensor]  # an operation by its name, to images with their numbers
    stages: list[list[Part]]

    def __call__(self, images: Tensor) -> Tensor:
        """Augmented images, same shape ``[N, C, H, W]``, on the device where the plan is :func:`placed`."""
        for parts in self.stages:
            images = self._stage(parts, images)
        return images

    def _stage(self, parts: list[Part], images: Tensor) -> Tensor:
        augmented = torch.empty_like(images) if len(parts) > 1 else images
        for part in parts:
            numbers, members = part.numbers, part.members
            if members is None:
                return self.apply(part.operation, images, numbers)
            augmented = augmented.index_copy(0, members, self.apply(part.operation, images[members], numbers))
        return augmented


def placed(plans: Sequence[Plan], device: torch.device) -> list[Plan]:
    """The same plans on the device of the images, in one copy."""
    tensors: list[Tensor] = []
    for part in (part for plan in plans for stage in plan.stages for part in stage):
        tensors += [part.numbers] if part.members is None else [part.numbers, part.members]
    there = iter(to_device(tensors, device))

    def moved(part: Part) -> Part:
        return Part(part.operation, next(there), None if part.members is None else next(there))

    return [Plan(plan.apply, [[moved(part) for part in stage] for stage in plan.stages]) for plan in plans]


def _integers(u: Tensor, count: int) -> Tensor:
    """Uniform integers 0 .. count - 1 from uniform numbers in [0, 1)."""
    return (u * count).long().clamp(max=count - 1)
