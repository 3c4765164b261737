"""What a run finds in its folder, checked before anything there is touched."""

from pathlib import Path

import torch

from cmidd import files
from cmidd.checking import checked
from cmidd.checkpoints import checkpoint_of
from cmidd.engine import Engine
from cmidd.errors import SettingError
from cmidd.evaluate import read_pieces
from cmidd.formats import Checkpoint, conforming, part, read_record
from cmidd.plugins import stage_sizes
from cmidd.settings import Settings

EVALUATING = "evaluating.json"
"""Where the accuracies of the evaluation that is going on are kept."""


def check_folder(settings: Settings, num_classes: int, image_shape: tuple[int, int, int]) -> None:
    """Check the files that an unfinished run goes on from.

    Raises:
        SettingError: naming the file that is damaged, of another version, or for other images.
    """
    folder = settings.folder
    if (path := folder / "engine.json").exists():
        checked(Engine, files.read_json(path), f"{path}: engine")
    if (path := folder / "metrics.jsonl").exists():
        files.read_rows(path)
    read_pieces(folder / EVALUATING)
    for stage, size in enumerate(stage_sizes(settings)):
        if not (path := checkpoint_of(folder, stage)).exists():
            continue
        tensors, about = files.read_tensors(path)
        conforming(path, about, Checkpoint)
        expected = [size * num_classes, *image_shape]
        for name in ("leaf_0", *({"momentum_0"} & tensors.keys())):
            found = tensors.get(name, torch.empty(0))
            if list(found.shape) != expected or not found.isfinite().all():
                raise SettingError(
                    f"{path}: {name} {list(found.shape)} instead of finite images {expected}; move the folder away, or "
                    "overwrite=true (which keeps it beside)"
                )


def read_finished(folder: Path) -> dict[str, object]:
    """The record of a finished run.

    Raises:
        SettingError: when it is absent, damaged or of another version.
    """
    path = folder / "result.json"
    record = read_record(path)
    for name in ("baselines", f"best_on_{record['tested_on']}"):
        part(path, record, name)
    return record
