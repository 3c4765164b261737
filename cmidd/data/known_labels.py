"""What is known of label tensors without asking the device: their values, and which images each class has.

The labels of a synthetic set never change, nor do those of batches with so many images of every class in order
(:meth:`cmidd.data.dataset.Dataset.take`). To read them from a GPU is to wait for it, so it is done once for each tensor
and kept as long as the tensor is. New numbers in the same tensor are noticed.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from cmidd.utils.transfer import to_device


@dataclass
class _Known:
    """``host`` is a tensor of its own, not that which it is kept for: else neither would ever be freed."""

    version: int
    host: Tensor
    members: dict[int, list[Tensor]] = field(default_factory=dict)
    sizes: dict[int, Tensor] = field(default_factory=dict)
    groups: tuple[Tensor, Tensor] | None = None


_known = WeakTensorKeyDictionary()


def place(labels: Tensor, device: torch.device) -> Tensor:
    """A copy of labels on the CPU (``[N]``) on a device, of which all is known."""
    placed = to_device([labels.clone()], device)[0]
    _known[placed] = _Known(placed._version, labels.clone())
    return placed


def host_labels(labels: Tensor) -> Tensor:
    """Labels ``[N]`` on the CPU, not to be changed."""
    return _of(labels).host


def num_classes_of(labels: Tensor) -> int:
    """One more than the largest label."""
    return int(host_labels(labels).max()) + 1


def class_members(labels: Tensor, num_classes: int) -> list[Tensor]:
    """For every class the indices of its labels, in order, on the device of ``labels`` ``[N]``."""
    known = _of(labels)
    if num_classes not in known.members:
        members = [(known.host == label).nonzero().flatten() for label in range(num_classes)]
        known.members[num_classes] = to_device(members, labels.device)
    return known.members[num_classes]


def class_sizes(labels: Tensor, num_classes: int) -> Tensor:
    """How many labels each class has, ``[C]``, on their device."""
    known = _of(labels)
    if num_classes not in known.sizes:
        (known.sizes[num_classes],) = to_device([known.host.bincount(minlength=num_classes)], labels.device)
    return known.sizes[num_classes]


def groups(labels: Tensor) -> tuple[Tensor, Tensor]:
    """The labels that there are, numbered in order: the number of each label ``[N]``, how many have each ``[G]``."""
    known = _of(labels)
    if known.groups is None:
        _, group, count = known.host.unique(return_inverse=True, return_counts=True)
        group, count = to_device([group, count], labels.device)
        known.groups = group, count
    return known.groups


def _of(labels: Tensor) -> _Known:
    known: _Known | None = _known.get(labels)
    if known is None or known.version != labels._version:
        known = _known[labels] = _Known(labels._version, labels.detach().to("cpu", copy=True))
    return known
