"""Training that is kept after its epochs, and gone on with from there."""

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.together import new_training
from cmidd.data.split import Split
from cmidd.utils import cache, files, tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

log = logging.getLogger(__name__)
KEPT_SECONDS = 60.0  # An epoch of the digits takes less than writing it.


@dataclass(frozen=True)
class KeptTraining:
    """A network to train by ``streams`` of its own; what there is of it so far is in the file ``keep``."""

    network: nn.Module
    streams: Streams
    keep: Path


def train_kept(
    network: nn.Module,
    data: Split,
    recipe: TrainingRecipe,
    streams: Streams,
    *,
    what: str | None,
    keep: Path,
    made_by: Mapping[str, Any],
    after: Callable[[int], None] | None = None,
) -> None:
    """As :func:`cmidd.compute.training.train`, kept in ``keep`` after its epochs, and gone on with from there: the bits
    are the same.

    The file (parameters, buffers, what the optimiser remembers, epoch) is written every :data:`KEPT_SECONDS` at most,
    and stays: whoever has written the trained network to its place removes it.

    Args:
        made_by: what the training depends on.
        after: is called after each epoch with how many are done; what it changes in buffers of the network is kept too.

    Raises:
        SettingError: when what is kept is damaged, or of another training.
    """
    train_all_kept([KeptTraining(network, streams, keep)], data, recipe, what=what, made_by=made_by, after=after)


def train_all_kept(
    trainings: Sequence[KeptTraining],
    data: Split,
    recipe: TrainingRecipe,
    *,
    what: str | None,
    made_by: Mapping[str, Any],
    after: Callable[[int], None] | None = None,
) -> None:
    """As :func:`train_kept`, of several networks at once, as far as they are equally far."""
    begun = [(one, *_begun(one, recipe, made_by)) for one in trainings]
    for epochs in sorted({done for _, done, _ in begun}):
        alike, states = zip(*((one, state) for one, done, state in begun if done == epochs), strict=True)
        training, written = new_training([one.network for one in alike], recipe), Written()
        if epochs:
            training.go_on(epochs, states)
            log.info("%s goes on after epoch %d of %d", what, epochs, len(recipe.learning_rates))
        for done in training.epochs(data, [one.streams for one in alike], what=what):
            if after is not None:
                after(done)
            if done < len(recipe.learning_rates) and written.due():
                for one, state in zip(alike, training.states(), strict=True):
                    _keep(one, state, made_by, done)


def _begun(
    one: KeptTraining, recipe: TrainingRecipe, made_by: Mapping[str, Any]
) -> tuple[int, dict[str, list[Tensor]]]:
    """How many epochs a network has had and what its optimiser remembered, the network being as it was."""
    if not one.keep.exists():
        return 0, {}
    tensors, about = tensor_files.read_tensors(one.keep)
    state = _taken_from(tensors, recipe.remembered)
    try:
        if about["made_by"] != files.as_json(made_by):
            raise ValueError("made by other settings")
        one.network.load_state_dict(tensors)
        # What it remembers must fit before others are trained beside it.
        new_training([one.network], recipe).go_on(about["epoch"], [state])
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(f"{error}".split())[:300]
        raise SettingError(f"{one.keep}: not what this training goes on from ({reason}); remove it") from error
    return about["epoch"], state


def _keep(one: KeptTraining, state: Mapping[str, Sequence[Tensor]], made_by: Mapping[str, Any], done: int) -> None:
    """Write what there is of a network so far, unless it went wrong."""
    numbered = {f"{name}_{n:04d}": value for name, values in state.items() for n, value in enumerate(values)}
    tensors = {**one.network.state_dict(), **numbered}
    if all(tensor.isfinite().all() for tensor in tensors.values()):
        tensor_files.write_tensors(one.keep, tensors, {"made_by": made_by, "epoch": done})


def _taken_from(tensors: dict[str, Tensor], names: Iterable[str]) -> dict[str, list[Tensor]]:
    """What the optimiser remembered, taken out of the tensors of a file."""
    found = {name: [key for key in sorted(tensors) if re.fullmatch(rf"{name}_\d{{4,}}", key)] for name in names}
    return {name: [tensors.pop(key) for key in keys] for name, keys in found.items()}


def load_trained(network: nn.Module, path: Path, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """Give a network the numbers of the file that its training ended in; returns what the file's header says.

    Raises:
        SettingError: when the file is damaged, or of another network or training.
    """
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    cache.check_tensors([path], shapes, made_by)
    tensors, about = tensor_files.read_tensors(path)
    network.load_state_dict(tensors)
    return about


class Written:
    """When to write what is unfinished: :data:`KEPT_SECONDS` after the last time."""

    def __init__(self) -> None:
        self.at = time.monotonic()

    def due(self) -> bool:
        """Whether it is time; if so, counts as written."""
        if time.monotonic() - self.at < KEPT_SECONDS:
            return False
        self.at = time.monotonic()
        return True
