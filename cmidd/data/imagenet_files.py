"""Ten classes of ImageNet, from its own folders or from a folder of these classes alone."""

from collections import Counter
from pathlib import Path

from cmidd.data.folders import below, look, refuse_links
from cmidd.data.image_files import Fit, Geometry, Pictures
from cmidd.data.imagenet import SUBSETS
from cmidd.data.layouts import Layout
from cmidd.data.split import Source
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Side

HELD_OUT = ("val", "valid", "validation", "test")
OF_IMAGENET = 50  # pictures of a class in ImageNet's validation set


def read_subset(name: str, root: Path, download: bool, *, size: Side = 128, fit: Fit = "squash") -> Source[Pictures]:
    """A subset of :data:`cmidd.data.imagenet.SUBSETS`, labels in the order of its list, classes named by WNIDs.

    Found in ``root``, or in its folders ``imagenet``, ``<name>`` and fastai's ``<name>2``, ``-320`` and ``-160``:
    pictures in ``{train,val}/<WNID>``. No other class is looked at.

    Args:
        size: pixels a side; published at 128 (MTT).
        fit: MTT squashes (mtt-distillation/utils.py:98-101), GLaD crops.

    Raises:
        SettingError: with the expected tree, when a folder is missing.
    """
    wnids = SUBSETS[name]
    places = [root, *(root / below for below in ("imagenet", name, f"{name}2", f"{name}2-320", f"{name}2-160"))]
    found = [place for place in places if any((place / "train" / wnid).is_dir() for wnid in wnids)]
    found.sort(key=lambda place: not all((place / "train" / wnid).is_dir() for wnid in wnids))  # All ten first.
    setting = f"dataset={name}, data.root={root}"
    if not found:
        raise SettingError(
            f"{setting}: looked for {{{', '.join(map(str, places))}}}/train/<WNID>; put there {_tree(wnids)}, of "
            "ImageNet or of these classes alone"
        )
    layout, geometry = _layout(found[0], wnids, setting), Geometry(size, 3, fit)
    train, test = (layout.pictures(split, geometry, setting, wnids) for split in ("train", "test"))
    origin = f"{found[0].name}/{{train,{layout.folders['test'].name}}}"
    return Source(train, test, wnids, origin=origin, understood=layout.read_at(geometry))


def _tree(wnids: tuple[str, ...]) -> str:
    """The expected files, in one line."""
    return f"{{train,val}}/{{{','.join(wnids)}}}/<picture>.JPEG"


def _layout(root: Path, wnids: tuple[str, ...], setting: str) -> Layout:
    """The pictures of the ten classes below ``root``."""
    held_out = [name for name in HELD_OUT if any((root / name / wnid).is_dir() for wnid in wnids)]
    if len(held_out) != 1:
        unsorted = [name for name in HELD_OUT if (root / name).is_dir() and look(root / name, setting).images]
        if held_out:
            problem, way = f"{', '.join(held_out)} could each be the test set", "remove all but one"
        elif unsorted:
            problem = f"the pictures in {root / unsorted[0]} are not sorted into class folders"
            way = f"move them, as torchvision's datasets.ImageNet does, or put {_tree(wnids)} there"
        else:
            problem, way = f"{root} has no test set", f"put {_tree(wnids)} there"
        raise SettingError(f"{setting}: {problem}; {way}")
    folders = {"train": root / "train", "test": root / held_out[0]}
    classes = (folder / wnid for folder in folders.values() for wnid in wnids)
    refuse_links([*folders.values(), *classes], [], setting)
    splits: dict[str, tuple[tuple[Path, str], ...]] = {}
    skipped = Counter[str]()
    for role, folder in folders.items():
        pictures: list[tuple[Path, str]] = []
        for wnid in wnids:
            inside = below(folder / wnid, setting) if (folder / wnid).is_dir() else None
            if inside is None or not inside.images:
                raise SettingError(f"{setting}: {folder / wnid} holds no picture; put {_tree(wnids)} below {root}")
            pictures += [(path, wnid) for path in inside.images]
            skipped.update(inside.skipped)
        splits[role] = tuple(pictures)
    counts = Counter(wnid for _, wnid in splits["test"])
    odd = [wnid for wnid in wnids if counts[wnid] != OF_IMAGENET]
    note = f"{counts[odd[0]]} of {odd[0]} are tested on, ImageNet has {OF_IMAGENET} of a class" if odd else ""
    notes = (f"{note}: not what published figures are tested on",) if odd else ()
    return Layout(root, "ten classes of ImageNet", splits, folders, wnids, skipped=dict(skipped), notes=notes)
