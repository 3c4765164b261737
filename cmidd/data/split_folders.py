"""The folders of a data set that are its splits: ``train`` and what is held out, told from classes of these names."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cmidd.data.folders import Inside, below, look, refuse_links
from cmidd.data.label_files import ANNOTATIONS
from cmidd.utils.errors import SettingError

VALIDATION = ("val", "valid", "validation")
NAMES = ("train", "test", *VALIDATION)
# Names of splits that are not read as such: a folder of folders that is called so is hardly a class.
ALIKE = re.compile(
    r"(train|training|test|testing|val|valid|validation|dev|eval|evaluation)[-_ ]?(set|data|images|split|\d+)?", re.I
)
WITHOUT_CLASSES = {"unsup"}  # imagewang's


@dataclass(frozen=True)
class Splits:
    """The folder of each role: ``train``, ``test``, and maybe ``validation``; ``skipped`` counts what is left out."""

    folders: dict[str, Path]
    skipped: Counter[str]


def find_splits(root: Path, top: Inside, setting: str) -> Splits | None:
    """The splits among the folders of ``root``; None where all of them are classes.

    A folder ``train`` that holds images, beside other classes, is a class.

    Raises:
        SettingError: when one is missing, is no split, or several could be the one.
    """
    kinds = {path: look(path, setting).kind for path in top.folders if ALIKE.fullmatch(path.name)}
    if "classes" not in kinds.values():
        if kinds and (len(kinds) == len(top.folders) or ("both" in kinds.values() and len(kinds) > 1)):
            names = ", ".join(sorted(path.name for path in kinds))
            raise SettingError(
                f"{setting}: {names} are named as splits and hold no class folders alone, but images; move these into "
                f"one subfolder per class in each"
            )
        return None
    for path, kind in kinds.items():
        if path.name.lower() not in NAMES and kind == "classes":
            raise SettingError(
                f"{setting}: {path.name!r} holds folders as a split does, and splits are named {', '.join(NAMES)}; "
                "rename it, or move the pictures of a class directly into its folder"
            )
    refuse_links(kinds, [path for path in top.broken if ALIKE.fullmatch(path.name)], setting)
    if top.images:
        raise SettingError(
            f"{setting}: {len(top.images)} pictures lie beside the splits {_names(kinds)} ({top.images[0].name!r}); "
            "move them away, or into a class of a split"
        )
    skipped = _beside(top, kinds, setting)
    return Splits(_roles(root, kinds, skipped, setting), skipped)


def _beside(top: Inside, kinds: dict[Path, str], setting: str) -> Counter[str]:
    """What is left out of the folders beside the splits; none of them may hold a class."""
    skipped = Counter[str]()
    for path in top.folders:
        named = path.name.lower() in NAMES
        if named and path in kinds:
            continue
        if path.name in WITHOUT_CLASSES:
            skipped[f"in {path.name}, without labels"] += len(below(path, setting).images)
        elif below(path, setting).images:
            raise SettingError(
                f"{setting}: {path.name!r} holds pictures and lies beside {_names(kinds)}, which hold folders as "
                "splits do; move it away, or put the pictures of each class directly into its folder"
            )
        else:
            skipped["folders without pictures"] += 1
    return skipped


def _roles(root: Path, kinds: dict[Path, str], skipped: Counter[str], setting: str) -> dict[str, Path]:
    """Which folder is the training set, which is tested on, and which is for tuning."""
    by_role: dict[str, list[Path]] = {"train": [], "test": [], "validation": []}
    for path in sorted(kinds):
        name = path.name.lower()
        if name in NAMES:
            by_role["validation" if name in VALIDATION else name].append(path)
    for several in by_role.values():
        if several[1:]:
            raise SettingError(f"{setting}: {_names(several)} could each be the one split; remove all but one")
    role = {name: paths[0] for name, paths in by_role.items() if paths}
    if "test" in role and "validation" in role and _unlabelled(role["test"], setting):
        skipped["in test, without labels"] += len(below(role.pop("test"), setting).images)
    for path in role.values():
        if kinds[path] != "classes":
            what = {"both": "pictures beside class folders", "images": "pictures and no class folders"}
            raise SettingError(
                f"{setting}: {path.name} holds {what.get(kinds[path], 'no class folders')}, and {_names(kinds)} are "
                "splits; move the pictures into class folders"
            )
    if "train" not in role:
        raise SettingError(f"{setting}: {_names(kinds)} hold folders as splits do, and there is no train; add it")
    if len(role) == 1:
        raise SettingError(
            f"{setting}: has a training set in {role['train'].name} and no {', '.join(('test', *VALIDATION))} with the "
            f"same class folders; add one, or give data.root={role['train']}"
        )
    if "test" not in role:
        role["test"] = role.pop("validation")
    return {name: role[name] for name in ("train", "test", "validation") if name in role}


def _unlabelled(folder: Path, setting: str) -> bool:
    """Whether a folder ``test`` holds pictures of unknown classes, as ImageNet's and Tiny-ImageNet's do."""
    inside = look(folder, setting)
    if [path.name for path in inside.folders] == ["images"] and not inside.images:
        annotated = (folder / ANNOTATIONS).exists()
        return look(inside.folders[0], setting).kind == "images" and not annotated
    return inside.kind == "images"


def refuse_alike(root: Path, top: Inside, setting: str) -> None:
    """Refuse folders that all hold the same folders: domains, or splits of other names, rather than classes.

    Raises:
        SettingError: naming the folders below.
    """
    inside = [look(path, setting) for path in top.folders]
    names = [{path.name for path in each.folders} for each in inside]
    if len(names[0]) > 1 and all(own == names[0] for own in names) and not any(each.images for each in inside):
        shown = ", ".join(sorted(names[0])[:5])
        raise SettingError(
            f"{setting}: every folder holds the same folders {shown}; are these the classes, give "
            f"data.root={top.folders[0]} or name the splits {', '.join(NAMES[:2])}; else move the pictures of a class "
            "directly into its folder"
        )


def _names(paths: dict[Path, str] | list[Path]) -> str:
    return ", ".join(sorted(path.name for path in paths))
