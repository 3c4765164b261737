"""The state of a distillation that is saved and gone on from."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cmidd.compute.optimizer_state import remembered, restore
from cmidd.loop.contract import refuse_memories, saved_state
from cmidd.loop.divergence import Watch
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams


@contextlib.contextmanager
def restoring(path: Path) -> Iterator[None]:
    """For a block that takes over what a file holds.

    Raises:
        SettingError: when that lacks something, or has it in another shape.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:300]
        raise SettingError(
            f"{path}: not what this run goes on from ({reason}); move the folder away, and the same command begins anew"
        ) from error


class Remembering(Protocol):
    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, tensors: dict[str, Tensor]) -> None: ...


class State:
    """The state of a distillation.

    Attributes:
        about: its counts: the ``iteration``, ``seconds`` of distillation, ``evaluations``: every accuracy measured on
            the way and at the end, by iteration, ``evaluated_at``: after how many seconds of distillation,
            ``evaluation_seconds``, ``rollbacks``, and ``declined``: steps that the method did not want.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, memories: Mapping[str, Remembering], streams: Streams, watch: Watch
    ) -> None:
        refuse_memories(memories)
        self.optimizer, self.memories, self.streams, self.watch = optimizer, memories, streams, watch
        self.leaves: list[Tensor] = [leaf for group in optimizer.param_groups for leaf in group["params"]]
        self.step_sizes = [group["lr"] for group in optimizer.param_groups]
        self.about: dict[str, Any] = {
            "iteration": 0,
            "seconds": 0.0,
            "evaluation_seconds": 0.0,
            "evaluations": {},
            "evaluated_at": {},
            "rollbacks": 0,
            "rollbacks_in_a_row": 0,
            "declined": 0,
        }

    @property
    def iteration(self) -> int:
        """How many iterations are done."""
        return int(self.about["iteration"])

    def advance(self, seconds: float) -> None:
        """One more iteration is done, which took so long."""
        self.about["iteration"] += 1
        self.about["seconds"] += seconds

    def check(self, *, everything: bool, now: bool) -> None:
        """Look at the steps since the last check (``now``), or at ``everything`` that would be saved as well.

        Raises:
            Diverged: when numbers went wrong.
        """
        if everything or now:
            self.watch.check()
        if everything:
            self.watch.check_tensors(self._tensors())

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all.

        Raises:
            Diverged: when a number of it is not finite; nothing is written.
        """
        tensors = self._tensors()
        self.watch.check_tensors(tensors)
        tensor_files.write_tensors(path, tensors, self.about)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"leaf_{number}": leaf for number, leaf in enumerate(self.leaves)}
        for name, memory in self.memories.items():
            tensors.update({f"{name}/{key}": tensor for key, tensor in saved_state(memory, memory.state()).items()})
        for number, leaf in enumerate(self.leaves):
            own = remembered(self.optimizer, leaf)
            tensors.update({f"{name}_{number}": value for name, value in own.items()})
        return tensors

    def load(self, path: Path, **newer: Any) -> None:
        """Become the state of a file, but for the counts in ``newer``; every rollback changes draws and step sizes.

        Raises:
            SettingError: when the file is damaged, or does not fit this run.
        """
        tensors, stored = tensor_files.read_tensors(path)
        self.about.update(stored, **newer)
        self.optimizer.state.clear()
        with restoring(path), torch.no_grad():
            for number, leaf in enumerate(self.leaves):
                leaf.copy_(tensors[f"leaf_{number}"])
                restore(self.optimizer, leaf, _of_leaf(tensors, number))
            for name, memory in self.memories.items():
                own = f"{name}/"
                memory.load_state({key.removeprefix(own): t for key, t in tensors.items() if key.startswith(own)})
        self.streams.attempt = self.about["rollbacks"]
        for group, step_size in zip(self.optimizer.param_groups, self.step_sizes, strict=True):
            group["lr"] = step_size / 2 ** self.about["rollbacks"]


def _of_leaf(tensors: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """What a checkpoint has of one leaf beside its values: ``momentum_0`` of leaf 0 as ``momentum``."""
    own = f"_{number}"
    names = (key.removesuffix(own) for key in tensors if key.endswith(own) and "/" not in key)
    return {name: tensors[f"{name}{own}"] for name in names if name != "leaf"}
