"""What a distillation goes on from: what is learned, momenta, memories and counts, in one file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from cmidd import files
from cmidd.formats import restoring
from cmidd.soundness import Watch
from cmidd.streams import Streams


class Remembering(Protocol):
    def state(self) -> dict[str, Tensor]: ...

    def load_state(self, tensors: dict[str, Tensor]) -> None: ...


class State:
    """The state of a distillation.

    Attributes:
        about: the counts, as :func:`cmidd.distill.distill` returns them.
    """

    def __init__(
        self, optimizer: torch.optim.SGD, memories: Mapping[str, Remembering], streams: Streams, watch: Watch
    ) -> None:
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
        }

    def check(self) -> None:
        """Look at the steps since the last check, and at all that would be saved.

        Raises:
            Unsound: when numbers went wrong.
        """
        self.watch.check()
        self.watch.check_tensors(self._tensors())

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all.

        Raises:
            Unsound: when a number of it is not finite; nothing is written.
        """
        tensors = self._tensors()
        self.watch.check_tensors(tensors)
        files.write_tensors(path, tensors, self.about)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"leaf_{number}": leaf for number, leaf in enumerate(self.leaves)}
        for name, memory in self.memories.items():
            tensors.update({f"{name}/{key}": tensor for key, tensor in memory.state().items()})
        for number, leaf in enumerate(self.leaves):
            if (buffer := self.optimizer.state[leaf].get("momentum_buffer")) is not None:
                tensors[f"momentum_{number}"] = buffer
        return tensors

    def load(self, path: Path, **newer: Any) -> None:
        """Become the state of a file, but for the counts in ``newer``; every rollback changes draws and step sizes.

        Raises:
            SettingError: when the file is damaged, or does not fit this run.
        """
        tensors, stored = files.read_tensors(path)
        self.about.update(stored, **newer)
        self.optimizer.state.clear()
        with restoring(path), torch.no_grad():
            for number, leaf in enumerate(self.leaves):
                leaf.copy_(tensors[f"leaf_{number}"])
                if f"momentum_{number}" in tensors:
                    self.optimizer.state[leaf]["momentum_buffer"] = tensors[f"momentum_{number}"].to(leaf.device)
            for name, memory in self.memories.items():
                own = f"{name}/"
                memory.load_state({key.removeprefix(own): t for key, t in tensors.items() if key.startswith(own)})
        self.streams.attempt = self.about["rollbacks"]
        for group, step_size in zip(self.optimizer.param_groups, self.step_sizes, strict=True):
            group["lr"] = step_size / 2 ** self.about["rollbacks"]
