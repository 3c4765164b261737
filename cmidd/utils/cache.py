"""Folders of things that take long to make, named by a hash of what made them, and checked before they are read."""

import contextlib
import glob
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cmidd.utils import files, tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import differences


def fingerprint(value: Any) -> str:
    """Twelve hexadecimal digits that name what made a cached file."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def kept(folder: Path, stem: str, suffix: str, made_by: dict[str, Any]) -> Path:
    """The file of what these settings make, named by ``stem`` and their :func:`fingerprint`; or where it lies if an
    earlier version made it compiled, which names the same thing: compilation only reorders sums, and was in the key.
    """
    own, earlier = (folder / f"{stem}{fingerprint(key)}{suffix}" for key in (made_by, compiled(made_by)))
    return earlier if earlier.exists() and not own.exists() else own


def members(parent: Path, stem: str, made_by: dict[str, Any], names: Sequence[str]) -> list[Path]:
    """The files of these names in the folder of what these settings make, each as :func:`kept`.

    Raises:
        SettingError: when the folder holds others.
    """
    folders = [parent / f"{stem}_{fingerprint(key)}" for key in (made_by, compiled(made_by))]
    for folder in folders:
        refuse_others(folder, made_by)
    own, earlier = ([folder / name for name in names] for folder in folders)
    return [new if new.exists() or not old.exists() else old for new, old in zip(own, earlier, strict=True)]


def describe(paths: Iterable[Path], made_by: Mapping[str, Any]) -> None:
    """Write into the folder of those paths that are missing what makes them."""
    for folder in {path.parent for path in paths if not path.exists()}:
        files.write_json(folder / "settings.json", made_by)


def compiled(made_by: dict[str, Any]) -> dict[str, Any]:
    """The same as earlier versions called it where the engine compiled."""
    precision, *switches = made_by.get("engine", "float32").split(", ")
    return {**made_by, "engine": ", ".join([precision, "compiled", *switches])}


def not_compiled(made_by: Any) -> Any:
    """The opposite of :func:`compiled`; what was not compiled, or is no mapping, stays as it is."""
    if not isinstance(made_by, dict) or ", compiled" not in str(made_by.get("engine")):
        return made_by
    engine = str(made_by["engine"]).replace(", compiled", "")
    others = {name: value for name, value in made_by.items() if name != "engine"}
    return others if engine == "float32" else {**others, "engine": engine}


def nearest(folder: Path, made_by: Mapping[str, Any]) -> str:
    """What else lies beside a folder of :func:`members` under the same stem, in words: the one that differs in the
    fewest settings; nothing where there is none.
    """
    found = []
    for other in folder.parent.glob(f"{glob.escape(folder.name.rpartition('_')[0])}_*/settings.json"):
        made = (each for each in other.parent.glob("*.safetensors") if not files.is_unfinished(each))
        if other.parent != folder and any(made):
            with contextlib.suppress(SettingError):  # One that is damaged is nothing to a run that does not read it.
                of_other = differences(files.as_json(made_by), not_compiled(files.read_json(other)))
                found += [(len(of_other), other.parent.name, of_other)] if of_other else []
    if not found:
        return ""
    _, name, of_other = min(found)
    settings = ", ".join(f"{setting}={json.dumps(value)}" for setting, _, value in of_other)
    return f" (beside it {name}, made with {settings})"


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
    for name, old, new in differences(not_compiled(found), files.as_json(made_by)):
        raise SettingError(
            f"{path}: made with {name or 'settings'}={old}, this run has {new}; move the folder away, or give another "
            "buffers_root"
        )
