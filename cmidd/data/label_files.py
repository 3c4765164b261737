"""Text files beside pictures: which class a picture is of, and what a class is called."""

import re
from collections.abc import Collection
from pathlib import Path

from cmidd.utils.errors import SettingError

ANNOTATIONS = "val_annotations.txt"
TITLES = ("words.txt", "LOC_synset_mapping.txt", "class_map.txt")
WNID = re.compile(r"n\d{8}")
MOST_BYTES = 50_000_000


def annotated(folder: Path, classes: Collection[str], images: list[Path], setting: str) -> dict[Path, str]:
    """The classes of Tiny-ImageNet's validation pictures, from ``val_annotations.txt`` in ``folder``.

    Every line names a picture, its WNID and a box, with tabs between them.

    Raises:
        SettingError: when a line is none, or the file and the pictures do not fit one another.
    """
    path, by_name = folder / ANNOTATIONS, {image.name: image for image in images}
    found: dict[Path, str] = {}
    for number, line in enumerate(_lines(path, folder, setting), 1):
        where = f"{setting}: {path}, line {number}"
        name, _, rest = line.partition("\t")
        wnid = rest.partition("\t")[0]
        if not wnid:
            raise SettingError(f"{where} is no picture and WNID with a tab between; repair it")
        if wnid not in classes:
            raise SettingError(f"{where} names class {wnid[:50]!r}, which train has not; make them alike")
        if name not in by_name:
            raise SettingError(f"{where} names {name[:200]!r}, which is no picture there; repair it, or put it there")
        if by_name[name] in found:
            raise SettingError(f"{where} names {name!r} again; remove one of the lines")
        found[by_name[name]] = wnid
    if left := [image for image in images if image not in found]:
        raise SettingError(
            f"{setting}: {path} does not say of what class {left[0].name!r} is; add a line, or remove it"
        )
    return found


def titles(root: Path, classes: Collection[str]) -> dict[str, str]:
    """What WNIDs are called, for logs alone, from a file beside the folders: ``n01440764<space or tab>tench, ...``."""
    if not all(WNID.fullmatch(name) for name in classes):
        return {}
    found: dict[str, str] = {}
    for path in (root / name for name in TITLES):
        if not path.is_file() or path.is_symlink() or path.stat().st_size > MOST_BYTES:
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            wnid, _, title = line.replace("\t", " ").partition(" ")
            first = title.partition(",")[0].strip()
            if wnid in classes and first.isprintable() and first:
                found.setdefault(wnid, first[:40])
    return found


def _lines(path: Path, folder: Path, setting: str) -> list[str]:
    if not path.resolve().is_relative_to(folder.resolve()) or path.stat().st_size > MOST_BYTES:
        raise SettingError(
            f"{setting}: {path} is a link, or larger than {MOST_BYTES} bytes; put a copy of the file there"
        )
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise SettingError(f"{setting}: {path} cannot be read as text ({error}); repair it") from error
