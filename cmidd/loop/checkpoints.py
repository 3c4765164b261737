"""The checkpoints of a run, one for every stage, and how far they have come."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from cmidd.utils import tensor_files
from cmidd.utils.checking import validate
from cmidd.utils.setting_types import Accuracies, NonNegative, Number


class Checkpoint(TypedDict):
    """The header of ``checkpoint.safetensors``."""

    iteration: Annotated[int, Field(strict=True, ge=0)]
    seconds: NonNegative
    evaluation_seconds: NonNegative
    evaluations: dict[Number, Accuracies]
    evaluated_at: dict[Number, NonNegative]
    rollbacks: NotRequired[Annotated[int, Field(strict=True, ge=0)]]
    rollbacks_in_a_row: NotRequired[Annotated[int, Field(strict=True, ge=0)]]
    declined: NotRequired[Annotated[int, Field(strict=True, ge=0)]]


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
        state = validate(path, tensor_files.read_tensors(path)[1], Checkpoint)
        evaluated = {done.iteration + int(iteration) for iteration in state["evaluations"]}
        done = Progress(
            done.iteration + state["iteration"], done.seconds + state["seconds"], done.evaluated | evaluated
        )
    raise AssertionError
