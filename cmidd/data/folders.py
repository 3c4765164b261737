"""A look into folders of pictures: what lies there, with no picture opened."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cmidd.data.image_files import IMAGE_SUFFIXES
from cmidd.utils.errors import SettingError

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
ARRAYS = (".npz", ".safetensors")
NO_PICTURE = "no picture by name"
# What systems leave beside pictures, and what imagewang's pictures without a class lie in.
LEFT_BY_SYSTEMS = {"__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information"}


@dataclass(frozen=True)
class Inside:
    """What lies directly in a folder, sorted by name.

    Attributes:
        skipped: counts what is neither, in words.
        broken: links to nothing that are no pictures by name; they are skipped.
    """

    folders: list[Path]
    images: list[Path]
    skipped: Counter[str]
    broken: list[Path] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """``classes``, ``images``, ``both`` or ``nothing``: folders make a split, images a class."""
        return {(True, False): "classes", (False, True): "images", (True, True): "both"}.get(
            (bool(self.folders), bool(self.images)), "nothing"
        )


def look(folder: Path, setting: str) -> Inside:
    """What lies directly in ``folder``.

    Raises:
        SettingError: when it cannot be listed.
    """
    folders, images, skipped, broken = [], [], Counter[str](), []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name in LEFT_BY_SYSTEMS:
                    skipped["hidden"] += 1
                elif not (lost := entry.is_symlink() and not os.path.exists(entry.path)) and entry.is_dir():
                    folders.append(Path(entry.path))
                elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES and (entry.is_symlink() or entry.is_file()):
                    images.append(Path(entry.path))
                else:
                    broken += [Path(entry.path)] if lost else []
                    skipped[NO_PICTURE] += 1
    except OSError as error:
        raise SettingError(f"{setting}: cannot list {folder} ({error.strerror}); check its permissions") from error
    return Inside(sorted(folders), sorted(images), skipped, sorted(broken))


@dataclass(frozen=True)
class Below:
    """What lies anywhere below a folder.

    Attributes:
        images: sorted by path.
        data_sets: folders that hold folders ``train`` and ``test`` or ``val``, being data sets themselves.
    """

    images: list[Path] = field(default_factory=list)
    data_sets: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def below(folder: Path, setting: str) -> Below:
    """All that lies below ``folder``, sub-folders too.

    Raises:
        SettingError: when a sub-folder is a link, or named as a picture is.
    """
    found, left = Below(), [folder]
    while left:
        inside = look(current := left.pop(), setting)
        names = {path.name.lower() for path in inside.folders}
        if "train" in names and names & {"test", "val", "valid", "validation"}:
            found.data_sets.append(current)
        for path in inside.folders:
            if path.is_symlink():
                raise SettingError(f"{setting}: {path} links to a folder; put a copy of the folder there")
            if path.suffix.lower() in IMAGE_SUFFIXES:
                raise SettingError(f"{setting}: {path} is a folder and named as a picture is; rename it")
        found.images.extend(inside.images)
        found.skipped.update(inside.skipped)
        left += inside.folders
    found.images.sort()
    found.data_sets.sort()
    return found


def refuse_links(folders: Iterable[Path], broken: Iterable[Path], setting: str) -> None:
    """Refuse links among classes and splits that would lose one, or have the same pictures twice.

    Raises:
        SettingError: for a ``broken`` link, or two ``folders`` that are one.
    """
    for path in broken:
        raise SettingError(f"{setting}: {path} links to {os.readlink(path)}, which is not there; repair or remove it")
    seen: dict[str, Path] = {}
    for path in folders:
        if (other := seen.setdefault(os.path.realpath(path), path)) != path:
            raise SettingError(f"{setting}: {other} and {path} are one folder, by a link; remove the link")


def refuse_no_folder(root: Path, setting: str) -> None:
    """Check that ``root`` is a folder.

    Raises:
        SettingError: saying what to give instead of a file.
    """
    if root.is_dir():
        return
    suffix = root.suffix.lower()
    if not root.exists():
        raise SettingError(f"{setting}: no such folder; give a folder with one subfolder of images per class")
    if suffix in ARCHIVES:
        raise SettingError(f"{setting}: is an archive; unpack it and give the folder")
    if suffix in ARRAYS:
        raise SettingError(f"{setting}: is a file of arrays; use dataset=arrays for it")
    raise SettingError(f"{setting}: is a file; give a folder with one subfolder of images per class")


def advice(inside: Inside, root: Path) -> str:
    """What to do about a folder without class folders."""
    if archives := sorted(path.name for path in root.iterdir() if path.suffix.lower() in ARCHIVES):
        return f"unpack {archives[0]!r} that lies there and give data.root=<the folder>"
    if inside.images:
        return f"move its {len(inside.images)} pictures into one subfolder per class"
    return "expected <data.root>/<class>/<image>"
