"""Labelled images, and a data set as it is published."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

MOST_BYTES = 2**31  # of a data set's file


def shape_of(images: "Tensor | Split") -> str:
    """Channels, height and width of images ``[N, C, H, W]``: ``3x32x32``."""
    return "x".join(map(str, images.shape[1:]))


@dataclass(frozen=True, repr=False)
class Split:
    """Labelled images: ``images`` ``[N, C, H, W]`` (uint8 pixels or float network input), ``labels`` ``[N]``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> torch.Size:
        """That of the images, ``[N, C, H, W]``."""
        return self.images.shape

    @property
    def device(self) -> torch.device:
        return self.images.device

    def __getitem__(self, indices: Tensor | slice) -> "Split":
        return Split(self.images[indices], self.labels[indices])

    def subset(self, indices: Tensor | slice) -> "Split":
        """Some of the images, held as these are."""
        return self[indices]

    def parts(self, size: int) -> Iterator["Split"]:
        """All images, ``size`` at a time: for what would not need all of them at once."""
        for images, labels in zip(self.images.split(size), self.labels.split(size), strict=True):
            yield Split(images, labels)

    def __repr__(self) -> str:
        return f"Split({len(self)} images {shape_of(self)}, {self._kind()}, {len(self.labels.unique())} classes)"

    def _kind(self) -> str:
        return str(self.images.dtype).removeprefix("torch.")


@dataclass(frozen=True, repr=False)
class Source:
    """Raw pixels (uint8) of a data set as it is published, with the names of its classes.

    Attributes:
        validation: images that the data set itself sets aside for tuning, where it does.
        origin: the file that was read, for what did not come from the published files: its content can be any.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    validation: Split | None = None
    origin: str | None = None

    def __repr__(self) -> str:
        counts = f"{len(self.train)} training and {len(self.test)} test images {shape_of(self.train.images)}"
        place = f", from {self.origin}" if self.origin else ""
        return f"Source({counts} of {len(self.classes)} classes{place})"

    @cached_property
    def content(self) -> str:
        """A hash of all images and labels."""
        digest = hashlib.sha256()
        for split in (self.train, self.test, self.validation):
            if split is not None:
                digest.update(repr((list(split.images.shape), split.labels.dtype)).encode())
                for tensor in (split.images, split.labels):
                    digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


def stratified_split(split: Split, fraction: float, seed: int = 0) -> tuple[Split, Split]:
    """Two disjoint parts, the second with ``fraction`` of every class (at least one image of each)."""
    generator = torch.Generator().manual_seed(seed)
    held_out = []
    for label in split.labels.unique():
        members = (split.labels == label).nonzero().flatten()
        count = max(1, math.floor(fraction * len(members) + 0.5))
        held_out.append(members[torch.randperm(len(members), generator=generator)[:count]])
    mask = torch.zeros(len(split), dtype=torch.bool)
    mask[torch.cat(held_out)] = True
    return split[~mask], split[mask]
