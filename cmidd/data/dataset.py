"""A data set as tensors on the device, in the networks' input space, with class batches."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cmidd.data.known_labels import host_labels, place
from cmidd.data.preprocessing import Preprocessing
from cmidd.data.split import Split, shape_of
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from cmidd.utils.transfer import to_device

MOST_LABELS = 16  # kinds of batches whose labels are kept; a run has one or two


@dataclass(frozen=True, repr=False)
class Dataset:
    """Real training and evaluation images in network input space, ``[N, C, H, W]`` float32 on one device; of normalised
    ones the pixels are held (:class:`cmidd.data.held.Held`), and whatever is taken is float32.

    ``held_out`` is what evaluation tests on: ``test``, or ``validation`` when a part of the training set
    was split off for tuning (the test set is then not loaded at all).

    Attributes:
        origin: the file or folder that was read instead of the published files, if one was.
        content: then a hash of all its pixels and labels before any preprocessing, for what is kept of them.
        fill: whether a class with fewer images than a batch asks of it gives some again (:class:`CommonSettings`).
        understood: what was made of files that may mean several things, in one line.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    held_out: str = "test"
    origin: str | None = None
    content: str | None = None
    fill: bool = False
    understood: str | None = None

    def __repr__(self) -> str:
        return (
            f"Dataset({self.name}: {len(self.train)} training and {len(self.test)} {self.held_out} images "
            f"{shape_of(self.train)} of {self.num_classes} classes, on {self.device})"
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.train.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def device(self) -> torch.device:
        return self.train.device

    @cached_property
    def _labels(self) -> dict[bytes, Tensor]:
        return {}

    @cached_property
    def _orders(self) -> dict[int | None, tuple[int, Tensor]]:
        return {}

    @cached_property
    def class_members(self) -> list[Tensor]:
        """For every class the indices of its training images, in the order of the data set."""
        labels = host_labels(self.train.labels)
        return [(labels == label).nonzero().flatten() for label in range(self.num_classes)]

    def class_batches(self, size: int, generator: torch.Generator) -> Split:
        """``size`` distinct training images of every class (all of a smaller class, with ``fill`` some of them again),
        classes in order.
        """
        return self.take(self.drawn(size, generator))

    def take(self, indices: Tensor) -> Split:
        """Training images by their indices on the CPU, with labels that are the same tensor whenever they are the same
        (:mod:`cmidd.data.known_labels`): for batches whose classes come in one order again and again.
        """
        labels = host_labels(self.train.labels)[indices]
        key = labels.numpy().tobytes()
        if key not in self._labels:
            if len(self._labels) == MOST_LABELS:
                self._labels.clear()
            self._labels[key] = place(labels, self.device)
        return Split(self.at(indices).images, self._labels[key])

    def drawn(self, size: int, generator: torch.Generator) -> Tensor:
        """The indices of :meth:`class_batches` among the training images."""
        orders = [torch.randperm(len(members), generator=generator) for members in self.class_members]
        drawn = [members[self.first(order, size)] for members, order in zip(self.class_members, orders, strict=True)]
        return torch.cat(drawn)

    def first(self, order: Tensor, size: int) -> Tensor:
        """The first ``size`` of an order of a class's images; with ``fill`` a shorter one begins anew at its end."""
        if self.fill and 0 < len(order) < size:
            order = order.repeat(-(-size // len(order)))
        return order[:size]

    def distinct_class_batches(self, size: int, count: int, generator: torch.Generator) -> list[Split]:
        """``count`` of :meth:`class_batches` in which no image comes again before all of its class have come.

        Where chance alone repeats none, they are what ``count`` calls of :meth:`class_batches` give.
        """
        used = [torch.zeros(len(members), dtype=torch.int64) for members in self.class_members]
        batches = []
        for _ in range(count):
            drawn = []
            for members, times in zip(self.class_members, used, strict=True):
                order = torch.randperm(len(members), generator=generator)
                chosen = self.first(order[times[order].argsort(stable=True)], size)
                times += chosen.bincount(minlength=len(members))
                drawn.append(members[chosen])
            batches.append(self.take(torch.cat(drawn)))
        return batches

    def cycled_class_batches(self, size: int, number: int, streams: Streams) -> Split:
        """Batch ``number`` of every class, when the shuffled images of a class are gone through again and again;
        what fills no batch at the end of a pass is left out (IDC).
        """
        drawn = []
        for label, members in enumerate(self.class_members):
            pass_, position = divmod(number, max(1, len(members) // size))
            order = self._order(label, len(members), streams("real_class", label, pass_))
            drawn.append(members[self.first(order[position * size :], size)])
        return self.take(torch.cat(drawn))

    def cycled_batch(self, size: int, number: int, streams: Streams) -> Split:
        """Batch ``number`` of any classes, when the shuffled training set is gone through again and again."""
        pass_, position = divmod(number, math.ceil(len(self.train) / size))
        order = self._order(None, len(self.train), streams("real_any", pass_))
        return self.at(order[position * size : (position + 1) * size])

    def at(self, indices: Tensor) -> Split:
        """Training images by their indices on the CPU."""
        return self.train[to_device([indices], self.device)[0]]

    def _order(self, label: int | None, count: int, generator: torch.Generator) -> Tensor:
        """The order that ``generator`` draws of ``count`` images: kept for the batches of one pass."""
        seed = generator.initial_seed()
        if self._orders.get(label, (None,))[0] != seed:
            self._orders[label] = seed, torch.randperm(count, generator=generator)
        return self._orders[label][1]

    def check_ipc(self, ipc: int) -> None:
        """Refuse more images per class than the smallest class has, unless ``fill`` repeats those that are there.

        Raises:
            SettingError: naming the class, its size and the largest ``ipc`` that works.
        """
        sizes = [len(members) for members in self.class_members]
        smallest = min(range(len(sizes)), key=sizes.__getitem__)
        if ipc > sizes[smallest] and not self.fill:
            raise SettingError(
                f"ipc={ipc}: class {self.classes[smallest]!r} of {self.name} has only {sizes[smallest]} training "
                f"images; choose ipc <= {sizes[smallest]}, or dataset.fill=repeat, which takes some of them again"
            )
