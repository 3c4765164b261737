"""Sets of IDC, DREAM and NCFM: ``data*.pt``, grids of pixels."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmidd.synthetic.foreign.contents import load, pair, together
from cmidd.synthetic.foreign.imported import Imported
from cmidd.utils import files
from cmidd.utils.errors import SettingError

SETTINGS = "args.txt"
FACTOR = 2  # of IDC but for ImageNet, of DREAM and of NCFM
PHASE = re.compile(r"(.+_phase)\d+")


def read(path: Path, factor: int | None) -> Imported:
    """``[images, labels]``, pixels about in [0, 1], each a grid of images row by row. None is clamped, as
    IDC's, DREAM's and NCFM's own evaluation clamps none.

    ``args.txt`` beside it says how many there are in a row; the user's ``factor`` goes before. Of ImageNet-100 every
    group of classes lies in a folder of its own, ``*_phase0`` and so on: they are put together.

    Raises:
        SettingError: when a file is absent or damaged, a group is missing, or ``args.txt`` says another decoding.
    """
    parts = _phases(path)
    read_parts = [pair(part, load(part)) for part in parts]
    images, labels = together(path, [some for some, _ in read_parts]), _labels(path, [some for _, some in read_parts])
    settings = _settings(path)
    if (decoding := settings.get("decode_type", "single")) != "single":
        raise SettingError(
            f"synthetic={path}: {SETTINGS} beside it says decode_type {decoding!r}; only 'single' is read"
        )
    said = [f"put together of {len(parts)} groups of classes"] if len(parts) > 1 else []
    found, where = settings.get("factor", FACTOR), SETTINGS if "factor" in settings else "as published"
    if not isinstance(found, int) or not 0 < found <= 64:
        raise SettingError(f"synthetic={path}: {SETTINGS} beside it says factor {found!r}, expected 1 to 64; repair it")
    if factor is None:
        said.append(Imported.of_grids(found, where))
    return Imported(
        images=images,
        labels=labels,
        stored_as="pixels",
        factor=found if factor is None else factor,
        tile_order="rows",
        shrink="nearest",
        zca=False,
        said=tuple(said),
    )


def _settings(path: Path) -> dict[str, Any]:
    beside = path.with_name(SETTINGS)
    found = files.read_json(beside) if path.name == "data.pt" and beside.exists() else {}
    if not isinstance(found, dict):
        raise SettingError(f"{beside}: holds {str(found)[:40]!r} instead of settings; repair or remove it")
    return found


def _phases(path: Path) -> list[Path]:
    found = PHASE.fullmatch(path.parent.name)
    if found is None:
        return [path]
    folders = {
        int(other.name.removeprefix(found[1])): other
        for other in path.parent.parent.iterdir()
        if PHASE.fullmatch(other.name) and other.name.startswith(found[1])
    }
    for number in range(max(folders) + 1):
        if not (folders.get(number, path.parent / "absent") / path.name).is_file():
            raise SettingError(
                f"synthetic={path}: {found[1]}{number}/{path.name} is missing; put all groups of classes there"
            )
    return [folders[number] / path.name for number in sorted(folders)]


def _labels(path: Path, parts: list[Tensor]) -> Tensor:
    """The labels of all groups: each group counts its classes from 0."""
    starts = torch.tensor([0, *(int(part.max()) + 1 for part in parts[:-1])]).cumsum(0)
    return together(path, [part + start for part, start in zip(parts, starts, strict=True)])
