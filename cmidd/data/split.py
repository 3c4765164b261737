"""Labelled images, and a data set as it is published."""

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, Protocol, Self

import torch
from torch import Tensor
from typing_extensions import TypeVar

from cmidd.data.seen import Seen

MOST_BYTES = 2**31  # of a data set's file


def shape_of(images: "Tensor | Split") -> str:
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
    """Labelled images: ``images`` ``[N, C, H, W]`` (uint8 pixels or float network input), ``labels`` ``[N]``, and
    where there are ``soft`` labels, these as logits ``[N, C]``.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = field(default=None, kw_only=True)

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
        soft = None if self.soft is None else self.soft[indices]
        return Split(self.images[indices], self.labels[indices], soft=soft)

    def subset(self, indices: Tensor | slice) -> "Split":
        """Some of the images, held as these are."""
        return self[indices]

    def parts(self, size: int) -> Iterator["Split"]:
        """All images, ``size`` at a time: for what would not need all of them at once."""
        for first in range(0, len(self), size):
            yield self[first : first + size]

    def decoded(self) -> "Split":
        """Itself: these are pixels."""
        return self

    def __repr__(self) -> str:
        return f"Split({len(self)} images {shape_of(self)}, {self._kind()}, {len(self.labels.unique())} classes)"

    def _kind(self) -> str:
        return str(self.images.dtype).removeprefix("torch.")


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
        origin: the file or folder that was read, for what is not the published files: its content can be any.
        understood: what a reader made of files that may mean several things, in one line.
    """

    train: S
    test: S
    classes: tuple[str, ...]
    validation: S | None = None
    origin: str | None = None
    understood: str | None = None

    def decoded(self, decode: Callable[[S, str], Split] = lambda split, _: split.decoded()) -> "Source":
        """The same as pixels; what was seen in the pictures is added to what was understood.

        Args:
            decode: makes pixels of a split, which is called ``train``, ``test`` or ``validation``.

        Raises:
            SettingError: when a picture cannot be read.
        """
        held_out = None if self.validation is None else decode(self.validation, "validation")
        splits = decode(self.train, "train"), decode(self.test, "test"), held_out
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
