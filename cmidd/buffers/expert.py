"""An expert in training, as its file has it."""

import functools
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from cmidd.compute.passes import in_shapes
from cmidd.compute.recipe import TrainingRecipe
from cmidd.networks import Network
from cmidd.utils import files, tensor_files
from cmidd.utils.progress import tell
from cmidd.utils.random_streams import Streams
from cmidd.utils.text import duration

log = logging.getLogger(__name__)


def kept_epochs(path: Path) -> list[int] | None:
    """After which epochs the rows of a finished file stand that does not hold all; None where it holds all."""
    return tensor_files.read_shapes(path)[1].get("epochs")


def read_rows(path: Path, epochs: Iterable[int]) -> list[Tensor]:
    """Flat parameters ``[P]`` after these epochs; reads no others."""
    with tensor_files.opened(path) as file:
        kept, rows = tensor_files.about_of(file, path).get("epochs"), file.get_slice("trajectory")
        return [rows[epoch if kept is None else kept.index(epoch)].float() for epoch in epochs]


def remove_left(path: Path) -> None:
    """Remove what an expert was trained from, where a kill left it behind when its file was written. What is younger
    than that is in training, for a run that reads other rows.
    """
    beside = files.unfinished(path)
    if beside.exists() and beside.stat().st_mtime_ns <= path.stat().st_mtime_ns:
        beside.unlink(missing_ok=True)


@dataclass
class Expert:
    """An expert in training: its rows so far, what the optimiser remembered after the last, and after which epochs the
    rows stand that its file holds already (None: all so far).
    """

    what: str
    path: Path
    network: Network
    streams: Streams
    rows: list[Tensor] = field(default_factory=list)
    state: dict[str, list[Tensor]] = field(default_factory=dict)
    kept: Sequence[int] | None = ()

    @property
    def begun(self) -> Path:
        """The file that its training goes on from: its own where that has all rows so far, else one beside."""
        return self.path if self.kept is None else files.unfinished(self.path)

    def read(self, recipe: TrainingRecipe) -> "Expert":
        """Itself, as far as its training has come."""
        tensors, _ = tensor_files.read_tensors(self.begun)
        self.rows = list(tensors["trajectory"])
        with torch.no_grad():
            last = self._like(tensors.get("last", self.rows[-1]))
            for parameter, values in zip(self.network.parameters(), last, strict=True):
                parameter.copy_(values)
        for name in recipe.remembered:
            self.state[name] = list(tensors[name]) if name == "step" else self._like(tensors[name])
        return self

    def after(self, epochs: Sequence[int]) -> Tensor:
        """Its rows ``[N, P]`` after these epochs, in order; those that it has not reached are in its file."""
        reached = [self.rows[epoch] for epoch in epochs if epoch < len(self.rows)]
        beyond = [epoch for epoch in epochs if epoch >= len(self.rows)]
        held = read_rows(self.path, beyond) if beyond else []
        return torch.stack([*reached, *(row.to(self.rows[0].dtype) for row in held)])

    def _like(self, vector: Tensor) -> list[Tensor]:
        """A vector in the shapes of the network's parameters."""
        return list(in_shapes(vector, self.network).values())


class Outlook:
    """How long the experts take that are still to be trained, by those that this process has trained."""

    def __init__(self, missing: int) -> None:
        self.missing, self.made, self.began = missing, 0, time.monotonic()

    @property
    def left(self) -> str:
        """In words, for the line of progress of one; nothing before the first."""
        if not 0 < self.made < self.missing:
            return ""
        seconds = (time.monotonic() - self.began) / self.made * (self.missing - self.made)
        return f" ({duration(seconds)} for all that are left)"

    def say(self, what: str, worth: str) -> None:
        """Tell how good one became: of the first, the last, and now and then."""
        self.made += 1
        say = log.info if self.made in (1, self.missing) else functools.partial(tell, log)
        say("%s: %s%s", what, worth, self.left)
