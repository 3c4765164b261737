"""Labelled images, and a data set as it is published."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, Protocol, Self

import torch
from torch import Tensor
from typing_extensions import TypeVar

MOST_BYTES = 2**31  # of a data set's file


def shape_of(images: Tensor) -> str:
    """Channels, height and width of images ``[N, C, H, W]``: ``3x32x32``."""
    return "x".join(map(str, images.shape[1:]))


class Labelled(Protocol):
    """Labelled images, as pixels or still in files; ``labels`` ``[N]`` int64."""

    @property
    def labels(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Tensor, /) -> Self: ...

    def decoded(self) -> "Split":
        """As pixels."""


@dataclass(frozen=True, repr=False)
class Split:
    """Labelled images: ``images`` ``[N, C, H, W]`` (uint8 pixels or float network input), ``labels`` ``[N]``."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> "Split":
        return Split(self.images[indices], self.labels[indices])

    def decoded(self) -> "Split":
        """Itself: these are pixels."""
        return self

    def __repr__(self) -> str:
        kind = str(self.images.dtype).removeprefix("torch.")
        return f"Split({len(self)} images {shape_of(self.images)}, {kind}, {len(self.labels.unique())} classes)"


@dataclass(frozen=True)
class Seen:
    """What was seen while pictures were decoded.

    Attributes:
        smallest, largest: width and height in pixels of the pictures with the fewest and the most, as they are shown.
        converted: how many pictures were converted how, in words.
    """

    smallest: tuple[int, int]
    largest: tuple[int, int]
    converted: dict[str, int] = field(default_factory=dict)

    @classmethod
    def together(cls, seen: Iterable["Seen"]) -> "Seen":
        """Of all pictures; there must be one."""
        every, converted = list(seen), Counter[str]()
        for each in every:
            converted.update(each.converted)
        sizes = sorted(
            (size for each in every for size in (each.smallest, each.largest)), key=lambda s: (s[0] * s[1], s)
        )
        return cls(sizes[0], sizes[-1], dict(sorted(converted.items())))

    def __str__(self) -> str:
        smallest, largest = (f"{width}x{height}" for width, height in (self.smallest, self.largest))
        text = f"pictures of {smallest}" + (f" to {largest}" if largest != smallest else "")
        return text + "".join(f", {count} {how}" for how, count in self.converted.items())


@dataclass(frozen=True, repr=False)
class Decoded(Split):
    """The pixels of picture files."""

    seen: Seen


L = TypeVar("L", bound=Labelled)
S = TypeVar("S", bound=Labelled, default=Split)


@dataclass(frozen=True, repr=False)
class Source(Generic[S]):
    """A data set as it is published, with the names of its classes: raw pixels (uint8), or pictures to be decoded.

    Attributes:
        validation: images that the data set itself sets aside for tuning, where it does.
        origin: the file that was read, for what did not come from the published files: its content can be any.
        understood: what a reader made of files that may mean several things, in one line.
    """

    train: S
    test: S
    classes: tuple[str, ...]
    validation: S | None = None
    origin: str | None = None
    understood: str | None = None

    def decoded(self) -> "Source":
        """The same as pixels; what was seen in the pictures is added to what was understood.

        Raises:
            SettingError: when a picture cannot be read.
        """
        held_out = None if self.validation is None else self.validation.decoded()
        splits = self.train.decoded(), self.test.decoded(), held_out
        seen = [split.seen for split in splits if isinstance(split, Decoded)]
        parts = [part for part in (self.understood, str(Seen.together(seen)) if seen else None) if part]
        source: Source[Any] = replace(self)
        return replace(
            source, train=splits[0], test=splits[1], validation=splits[2], understood="; ".join(parts) or None
        )

    def __repr__(self) -> str:
        shape = f" {shape_of(self.train.images)}" if isinstance(self.train, Split) else ""
        counts = f"{len(self.train)} training and {len(self.test)} test images{shape}"
        place = f", from {self.origin}" if self.origin else ""
        return f"Source({counts} of {len(self.classes)} classes{place})"

    @cached_property
    def content(self) -> str:
        """A hash of all images and labels, as pixels."""
        digest = hashlib.sha256()
        for split in (self.train, self.test, self.validation):
            if split is not None:
                pixels = split.decoded()
                digest.update(repr((list(pixels.images.shape), pixels.labels.dtype)).encode())
                for tensor in (pixels.images, pixels.labels):
                    digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


def stratified_split(split: L, fraction: float, seed: int = 0) -> tuple[L, L]:
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
