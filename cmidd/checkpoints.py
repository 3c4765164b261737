"""Where a run's checkpoints are, one for every stage, and how far they have come."""

import itertools
from dataclasses import dataclass
from pathlib import Path

from cmidd import files
from cmidd.formats import Checkpoint, conforming


def checkpoint_of(folder: Path, stage: int) -> Path:
    """Where the state of a stage is kept; a run of one stage has ``checkpoint.safetensors``."""
    return folder / f"checkpoint{'' if stage == 0 else f'_stage{stage + 1}'}.safetensors"


@dataclass(frozen=True)
class Progress:
    """What the checkpoints of a run hold: iterations of all stages, the seconds they took, and after which of them the
    set was evaluated.
    """

    iteration: int = 0
    seconds: float = 0.0
    evaluated: frozenset[int] = frozenset()


def progress_of(folder: Path) -> Progress:
    """Read the checkpoints in a run's folder."""
    done = Progress()
    for stage in itertools.count():
        if not (path := checkpoint_of(folder, stage)).exists():
            return done
        state = conforming(path, files.read_tensors(path)[1], Checkpoint)
        evaluated = {done.iteration + int(iteration) for iteration in state["evaluations"]}
        done = Progress(
            done.iteration + state["iteration"], done.seconds + state["seconds"], done.evaluated | evaluated
        )
    raise AssertionError
