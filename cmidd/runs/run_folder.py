"""The folder of a run: admitted, resumed or refused before anything there is touched."""

import contextlib
import hashlib
import logging
from pathlib import Path
from typing import Any

import torch

from cmidd.compute.engine import Engine
from cmidd.core.context import Context
from cmidd.data.split import Split
from cmidd.evaluation.evaluate import read_pieces
from cmidd.loop.checkpoints import Checkpoint, checkpoint_of, progress_of
from cmidd.runs.identity import identity_differences
from cmidd.runs.record import RunRecord, read_record
from cmidd.runs.settings import Settings
from cmidd.utils import files, tensor_files
from cmidd.utils.checking import checked, mapping, validate
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)
EVALUATING = "evaluating.json"  # the accuracies of the evaluation that is going on
OVERWRITING = "OVERWRITING"  # there until DONE is, in a run that was begun with overwrite=true


def make_way(settings: Settings, context: Context) -> None:
    """Move an earlier run aside, on request, but not one that this request began and that can go on."""
    folder = settings.folder
    if settings.overwrite and folder.is_dir() and any(folder.iterdir()) and not _can_go_on(settings, context):
        number = 1
        while (aside := folder.with_name(f"{folder.name}.replaced{number}")).exists():
            number += 1
        folder.rename(aside)
        log.info("the earlier run is kept as %s", aside)


def overwrites(settings: Settings) -> bool:
    """Whether ``overwrite=true`` goes on with what is there: an unfinished run of these settings that it began."""
    folder = settings.folder
    if not (folder / OVERWRITING).exists() or (folder / "DONE").exists():
        return False
    with contextlib.suppress(SettingError):
        refuse_other_settings(settings)
        progress_of(folder)
        return True
    return False


def _can_go_on(settings: Settings, context: Context) -> bool:
    if not overwrites(settings):
        return False
    with contextlib.suppress(SettingError):
        check_folder(settings, context.data.num_classes, context.data.image_shape)
        refuse_other_images(settings, context)
        return True
    return False


def refuse_other_settings(settings: Settings) -> None:
    """Check that the folder of a run is new, or was begun with the same settings.

    Raises:
        SettingError: naming the first setting that differs; or when nothing tells what the settings were.
    """
    folder = settings.folder
    if not (folder / "settings.json").exists():
        if any((folder / name).exists() for name in ("checkpoint.safetensors", "result.json", "DONE")):
            raise SettingError(
                f"{folder}: a run without its settings.json, so nothing tells what made it; move the folder away, or "
                "overwrite=true (which keeps it beside)"
            )
        return
    before = files.read_json(path := folder / "settings.json")
    if not isinstance(before, dict):
        raise SettingError(
            f"{path}: damaged, it holds no settings of a run; move the folder away, or overwrite=true (which keeps it "
            "beside)"
        )
    for name, old, new in identity_differences(before, files.as_json(settings.identity)):
        if name in ("data", "data.content"):  # Known once they are read: see refuse_other_images.
            continue
        name = name.removeprefix("regularizers.")  # as the command line calls it
        raise SettingError(
            f"{name}={new}: the run in {folder} was made with {name}={old}; set it back, give another "
            "results_root=..., or overwrite=true (which keeps the earlier run beside it)"
        )


def identity_of(settings: Settings, context: Context) -> dict[str, Any]:
    """The settings that make a run's result, and the hash of its images where they are not the published files."""
    identity = settings.identity
    if context.data.content is not None:
        identity["data"] = {**identity.get("data", {}), "content": context.data.content}
    return identity


def refuse_other_images(settings: Settings, context: Context) -> None:
    """Refuse to go on when the images are no longer those that the run began with."""
    folder, data = settings.folder, context.data
    if not (path := folder / "settings.json").exists():
        return
    begun = mapping(files.read_json(path), str(path)).get("data", {}).get("content")
    where, flaw = f"data.root={settings.data.root}", f"the images have changed since the run in {folder} began"
    if begun is None and data.name == "folder":
        if not (kept := folder / "content.json").exists() or files.read_json(kept) == _as_seen(data.train):
            log.info("%s was begun by an earlier version, which named its images otherwise; they are the same", folder)
            return
        if settings.dataset.get("zca"):
            flaw += ", or an earlier version whitened them on other threads (OMP_NUM_THREADS), which rounds otherwise"
    elif begun == data.content:
        return
    elif begun is None:
        flaw = f"{data.origin} holds others than the published images, as which those of the run in {folder} counted"
    raise SettingError(f"{where}: {flaw}; put them back, or overwrite=true (which keeps the earlier run beside it)")


def _as_seen(split: Split) -> str:
    """What earlier versions called the images of a folder: a hash of those to train on, as networks see them."""
    digest = hashlib.sha256()
    for part in split.parts(1000):
        digest.update(part.images.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def begin(settings: Settings, context: Context) -> None:
    """Write what the run is made from: the first files in its folder."""
    if settings.overwrite:
        files.write_text(settings.folder / OVERWRITING, "")
    files.write_json(settings.folder / "settings.json", identity_of(settings, context))


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
    for stage, size in enumerate(settings.stage_sizes):
        if not (path := checkpoint_of(folder, stage)).exists():
            continue
        tensors, about = tensor_files.read_tensors(path)
        validate(path, about, Checkpoint)
        expected = [size * num_classes, *image_shape]
        for name in ("leaf_0", *({"momentum_0"} & tensors.keys())):
            found = tensors.get(name, torch.empty(0))
            if list(found.shape) != expected or not found.isfinite().all():
                raise SettingError(
                    f"{path}: {name} {list(found.shape)} instead of finite images {expected}; move the folder away, or "
                    "overwrite=true (which keeps it beside)"
                )


def read_finished(folder: Path) -> RunRecord:
    """The record of a finished run.

    Raises:
        SettingError: when it is absent, damaged or of another version.
    """
    path = folder / "result.json"
    try:
        record = read_record(path)
        record.has(path, "baselines", "best")
    except SettingError as error:
        raise SettingError(
            f"{error}: remove {folder / 'DONE'}, and the same command makes it from what else is there; or "
            "overwrite=true (which keeps this run beside)"
        ) from error
    return record
