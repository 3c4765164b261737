"""Labels on storages, which say what lies on a pretended device or in pinned memory, and the counts of that device.

Tensors that share a storage lie on one device, so a label on the storage follows views, ``detach`` and ``.data``.
"""

import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
MANY = 20_000  # labels, of which most are of storages that are gone


class Labels:
    """A set of storages, each forgotten when it is freed."""

    def __init__(self) -> None:
        self._references: dict[int, StorageWeakRef] = {}

    def __contains__(self, tensor: Tensor) -> bool:
        reference = self._references.get(_storage(tensor)._cdata)
        return reference is not None and not reference.expired()

    def add(self, tensor: Tensor) -> None:
        """Label the tensor's storage."""
        storage = _storage(tensor)
        # The reference keeps the storage's number from being given to another; so an expired one may be replaced.
        self._references[storage._cdata] = StorageWeakRef(storage)
        if len(self._references) > MANY:
            self._references = {key: kept for key, kept in self._references.items() if not kept.expired()}


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):  # Within vmap, grad and jvp.
        tensor = torch._C._functorch.get_unwrapped(tensor)
    with torch._C.DisableTorchFunction():
        return tensor.untyped_storage()


class Counts:
    """What was counted on a pretended device.

    Attributes:
        where: host synchronisations by place (the innermost file and line of this repository) and kind.
        launched: kernels by operation.
    """

    def __init__(self) -> None:
        self.where: Counter[tuple[str, str]] = Counter()
        self.launched: Counter[str] = Counter()

    @property
    def syncs(self) -> int:
        """How often the host waited for the device."""
        return self.where.total()

    @property
    def kernels(self) -> int:
        """How many operations were launched on the device; a kernel each, about."""
        return self.launched.total()

    def sync(self, kind: str, times: int = 1) -> None:
        """Count a wait of the host."""
        self.where[_place(), kind] += times

    def reset(self) -> None:
        """Count from zero."""
        self.where.clear()
        self.launched.clear()

    def lines(self) -> str:
        """Every place that waits, most often first, for the message of a test that fails."""
        return "\n".join(f"{times:6} {place} {kind}" for (place, kind), times in self.where.most_common())


def _place() -> str:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        within = path.relative_to(ROOT) if path.is_relative_to(ROOT) else None
        # The README's environment lies in the project.
        if within is not None and "site-packages" not in within.parts and path.parent != HERE:
            return f"{within}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"
