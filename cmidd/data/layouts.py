"""What a folder of pictures means: its splits, its classes and which picture is of which, with no picture decoded.

A folder is a split when it holds folders of classes, and a class when it holds images. What
could mean two things is refused.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from cmidd.data.folders import NO_PICTURE, Below, Inside, advice, below, look, refuse_links, refuse_no_folder
from cmidd.data.image_files import IMAGE_SUFFIXES, Geometry, Pictures
from cmidd.data.label_files import ANNOTATIONS, WNID, annotated, titles
from cmidd.data.split_folders import Splits, find_splits, refuse_alike
from cmidd.utils.errors import SettingError

IMAGES = "images"  # where Tiny-ImageNet keeps the pictures of a class, and of its validation set
MOST_NAMED = 12  # classes that a log line names


@dataclass(frozen=True)
class Layout:
    """What a folder of pictures means.

    Attributes:
        name: which layout it is.
        splits: ``train`` with ``test``, and maybe ``validation``; or ``all``, where nothing is set apart. Pictures with
            the name of their class, sorted by class and then by path.
        folders: where each split was found.
        classes: their names, sorted as text, as torchvision's ``ImageFolder`` has them.
        titles: what WNIDs are called, where a file says so; for logs alone.
        skipped: how many of what were left out, in words.
        notes: what else a reader should know, in words.
    """

    root: Path
    name: str
    splits: dict[str, tuple[tuple[Path, str], ...]]
    folders: dict[str, Path]
    classes: tuple[str, ...]
    titles: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def pictures(self, split: str, geometry: Geometry, setting: str, classes: Sequence[str] | None = None) -> Pictures:
        """The pictures of a split, labelled by the place of their class in ``classes`` (by default all there are).

        Args:
            setting: how errors about a picture begin.
            classes: a subset in an order of its own; pictures of other classes are left out.
        """
        label = {name: number for number, name in enumerate(self.classes if classes is None else classes)}
        chosen = [(path, label[name]) for path, name in self.splits[split] if name in label]
        chosen.sort(key=lambda pair: pair[1])  # stable: paths of a class keep their order
        labels = torch.tensor([number for _, number in chosen], dtype=torch.int64)
        return Pictures(self.root, tuple(path for path, _ in chosen), labels, geometry, setting)

    def read_at(self, geometry: Geometry) -> str:
        """What was understood, and what the pictures become, in words."""
        return f"{self}; {geometry.size}x{geometry.size} by dataset.fit={geometry.fit}"

    def counts(self, split: str) -> Counter[str]:
        """How many pictures each class has."""
        return Counter(name for _, name in self.splits[split])

    def __str__(self) -> str:
        splits = ", ".join(
            f"{len(self.splits[role])} in {folder.relative_to(self.root)} ({role})"
            for role, folder in self.folders.items()
            if role != "all"
        )
        counted = [self.counts(split) for split in self.splits]
        named = [
            f"{name}{f' ({self.titles[name]})' if name in self.titles else ''} "
            + "+".join(str(count[name]) for count in counted)
            for name in self.classes[:MOST_NAMED]
        ]
        if len(self.classes) > MOST_NAMED:
            named = [self.classes[0], "...", f"{self.classes[-1]}, {' + '.join(map(_range, counted))} images each"]
        skipped = ", ".join(f"{count} {what}" for what, count in self.skipped.items())
        parts = [
            self.name,
            splits or f"{len(self.splits['all'])} images",
            f"{len(self.classes)} classes: {', '.join(named)}",
            *([f"skipped: {skipped}"] if skipped else []),
            *self.notes,
        ]
        return "; ".join(parts)


def understand(root: Path, setting: str) -> Layout:
    """What the folder ``root`` means.

    Args:
        setting: how errors begin, ``data.root=<root>``.

    Raises:
        SettingError: when it is no folder, or its layout is none, or could mean several things.
    """
    refuse_no_folder(root, setting)
    top = look(root, setting)
    splits = find_splits(root, top, setting)
    if splits is None:
        return _of_classes(root, top, setting)
    return _of_splits(root, top, splits, setting)


def _of_classes(root: Path, top: Inside, setting: str) -> Layout:
    """One folder a class, nothing set apart."""
    named = _named(top, setting)
    inside = _inside(named, setting)
    if len(named) < 2:
        lonely = [path for path in named.values() if look(path, setting).folders]
        way = f"give data.root={lonely[0]} if these are in it" if lonely else advice(top, root)
        raise SettingError(f"{setting}: found {len(named)} class folder(s), distillation needs 2 or more; {way}")
    skipped = Counter(top.skipped)
    if top.images:
        skipped["outside of class folders"] += len(top.images)
    pictures = _pictures(inside, "", skipped, setting)
    refuse_alike(root, top, setting)
    return _layout(root, {"all": pictures}, {"all": root}, skipped, "one folder a class", setting)


def _of_splits(root: Path, top: Inside, splits: Splits, setting: str) -> Layout:
    """Folders of classes in ``train`` and in what is held out."""
    skipped, name = top.skipped + splits.skipped, "ImageFolder"
    found: dict[str, list[tuple[Path, str]]] = {}
    folders, of_classes = dict(splits.folders), list[Path]()
    for role, folder in splits.folders.items():
        classes = {own for _, own in found.get("train", ())}
        inside = look(folder, setting)
        skipped.update(inside.skipped)
        if classes and [path.name for path in inside.folders] == [IMAGES] and IMAGES not in classes:
            inside = look(folder / IMAGES, setting)
            skipped.update(inside.skipped)
            if inside.kind != "classes":
                found[role], name = _annotated(folder, inside, classes, setting), "Tiny-ImageNet's original layout"
                continue
            folders[role], name = folder / IMAGES, "Tiny-ImageNet, sorted into val/images"
        named = _named(inside, setting)
        of_classes += named.values()
        refuse_links(of_classes, [], setting)
        found[role] = _pictures(_inside(named, setting), folder.name, skipped, setting)
    classes = {own for _, own in found["train"]}
    for role, pictures in found.items():
        if odd := sorted(classes ^ {own for _, own in pictures}):
            shown = ", ".join(odd[:10]) + (f" and {len(odd) - 10} more" if len(odd) > 10 else "")
            other = splits.folders[role].name
            raise SettingError(f"{setting}: train and {other} differ in class folders {shown}; make them alike")
    return _layout(root, found, folders, skipped, name, setting)


def _annotated(folder: Path, inside: Inside, classes: set[str], setting: str) -> list[tuple[Path, str]]:
    """Pictures in ``images``, whose classes a text file says."""
    if inside.kind == "both":
        raise SettingError(
            f"{setting}: {folder / IMAGES} holds {len(inside.images)} pictures beside its folders; move them into "
            "class folders"
        )
    if not (folder / ANNOTATIONS).is_file():
        raise SettingError(
            f"{setting}: {folder / IMAGES} holds pictures and no class folders, and there is no {folder / ANNOTATIONS} "
            "that says what they are; put it there, or move them into class folders"
        )
    of = annotated(folder, classes, inside.images, setting)
    return sorted(of.items(), key=lambda pair: (pair[1], pair[0]))


def _named(inside: Inside, setting: str) -> dict[str, Path]:
    """Class folders by their names; no link loses one or makes two of one."""
    refuse_links(inside.folders, inside.broken, setting)
    for path in inside.folders:
        if not path.name.isprintable() or len(path.name) > 200:
            raise SettingError(f"{setting}: class folder {path.name!r} is not named by 1 to 200 letters; rename it")
    return {path.name: path for path in sorted(inside.folders, key=lambda path: path.name)}


def _inside(named: dict[str, Path], setting: str) -> dict[str, Below]:
    """What lies below every class folder; none of them holds a data set with splits of its own."""
    found = {name: below(path, setting) for name, path in named.items()}
    if inner := [path for of_it in found.values() for path in of_it.data_sets]:
        several = (
            f"train and what is held out lie in several folders, {', '.join(map(str, inner[:5]))}; give one of them"
        )
        one = f"train and what is held out lie deeper, in {inner[0]}; give data.root={inner[0]}"
        raise SettingError(f"{setting}: {several if inner[1:] else one}")
    return found


def _pictures(found: dict[str, Below], split: str, skipped: Counter[str], setting: str) -> list[tuple[Path, str]]:
    """The pictures of every class of a split (where there are some); no class is empty."""
    for name, of_it in found.items():
        if not of_it.images:
            where, way = f" of {split}" if split else "", "fill it or remove it"
            if others := of_it.skipped[NO_PICTURE]:
                kinds = ", ".join(sorted(IMAGE_SUFFIXES))
                way = f"{others} other files are there, save them as pictures that are read ({kinds}), or remove it"
            raise SettingError(f"{setting}: class folder {name!r}{where} holds no image; {way}")
        skipped.update(of_it.skipped)
    return [(path, name) for name, of_it in found.items() for path in of_it.images]


def _layout(
    root: Path,
    found: dict[str, list[tuple[Path, str]]],
    folders: dict[str, Path],
    skipped: Counter[str],
    name: str,
    setting: str,
) -> Layout:
    """The layout of what was found, under the name that is best known for it."""
    classes = sorted({own for pictures in found.values() for _, own in pictures})
    if len(classes) < 2:
        raise SettingError(f"{setting}: found 1 class folder(s), distillation needs 2 or more; add others")
    if name == "ImageFolder" and (csv := sorted(path.stem for path in root.glob("noisy_image*.csv"))):
        name = csv[0].removeprefix("noisy_").capitalize()
    elif name == "ImageFolder" and all(own.isdecimal() and len(own) == 5 for own in classes):
        name = "ImageFolder with RDED's numbers"
    elif name in ("ImageFolder", "one folder a class") and all(WNID.fullmatch(own) for own in classes):
        name = f"{name}, named by WNIDs"
    splits = {role: tuple(pictures) for role, pictures in found.items()}
    skipped = Counter({what: count for what, count in sorted(skipped.items()) if count})
    return Layout(
        root, name, splits, folders, tuple(classes), titles(root, classes), dict(skipped), tuple(_notes(classes))
    )


def _range(counts: Counter[str]) -> str:
    smallest, largest = min(counts.values()), max(counts.values())
    return f"{smallest}" if smallest == largest else f"{smallest} to {largest}"


def _notes(classes: list[str]) -> list[str]:
    """What is odd about classes that are numbers."""
    if not all(own.isascii() and own.isdecimal() and len(own) < 10 for own in classes):
        return []
    numbers, notes = [int(own) for own in classes], []
    if numbers != sorted(numbers):
        notes.append("the numbers of the classes are sorted as text, as torchvision sorts them")
    if sorted(numbers) != list(range(len(numbers))):
        notes.append(f"the numbers of the classes are not 0 to {len(numbers) - 1}; the labels are")
    return notes
