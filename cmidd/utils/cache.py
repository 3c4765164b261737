"""Folders of things that take long to make, named by a hash of what made them, and checked before they are read."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from cmidd.utils import files, tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import differences


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits that name what made a cached file."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def refuse_others(folder: Path, made_by: Mapping[str, Any]) -> None:
    """Check that what is in a folder was made by these settings: one may have been copied or renamed.

    Raises:
        SettingError: naming the first setting that differs.
    """
    path = folder / "settings.json"
    if path.exists():
        _refuse_difference(path, files.read_json(path), made_by)


def check_tensors(paths: Iterable[Path], shapes: Mapping[str, list[int]], made_by: Mapping[str, Any]) -> None:
    """Check the shapes of every file's tensors and, where it says so, what made it, without reading the tensors.

    Raises:
        SettingError: naming the file and what differs.
    """
    for path in paths:
        found, about = tensor_files.read_shapes(path)
        _refuse_difference(path, about.get("made_by", made_by), made_by)
        for name, old, new in differences(found, dict(shapes)):
            raise SettingError(
                f"{path}: {name} of shape {old} where this network and schedule have {new}; it was made for other "
                "settings: move it away, then it is made anew"
            )


def _refuse_difference(path: Path, found: Any, made_by: Mapping[str, Any]) -> None:
    for name, old, new in differences(found, files.as_json(made_by)):
        raise SettingError(
            f"{path}: made with {name or 'settings'}={old}, this run has {new}; move the folder away, or give another "
            "buffers_root"
        )
