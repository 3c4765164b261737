"""Synthetic sets of others, one reader a format: folders of pictures, and what the reference repositories save."""

import dataclasses
import logging
from collections.abc import Collection
from pathlib import Path

from cmidd.synthetic.foreign import arrays, dc, folders, haba, idc, idm, mtt, names
from cmidd.synthetic.foreign.imported import KINDS, Imported
from cmidd.synthetic.makers import MAKERS
from cmidd.utils.errors import SettingError

__all__ = ["KINDS", "Imported", "guess", "read", "refuse_open_normalisation"]

log = logging.getLogger(__name__)
DECIDES = ("method", "zca", "statistics")


def guess(path: Path) -> tuple[str | None, str | None]:
    """Our method for its maker and data set, as far as the name of a reference's file tells them.

    Raises:
        SettingError: for a folder with such files in it, of which one is to be given.
    """
    if path.is_dir() and (inside := names.sets_in(path)):
        raise SettingError(f"synthetic={path}: a folder; give the set in it, synthetic={path / inside[0]}")
    maker = names.maker_of(path)
    return MAKERS[maker].method if maker in MAKERS else maker, names.dataset_of(path)


def read(
    path: Path,
    classes: tuple[str, ...],
    channels: int,
    *,
    method: str | None = None,
    factor: int | None = None,
) -> Imported:
    """Read a foreign synthetic set; nothing in the file is executed.

    Args:
        classes: the class names of the data set, by label; ``channels`` are those of its images.
        method: who made it, where the user says so: a word of :data:`cmidd.synthetic.makers.MAKERS`, or a method of the
            user's own, of which nothing is known here; None: as far as the names of files tell.
        factor: tiles per side of its grids, where the user says so; None: what its files say, else as published.

    Raises:
        SettingError: when it is absent, damaged or none of the known kinds, or has labels beyond the classes or, where
            they are hard, none of a class.
    """
    found = _read(path, classes, channels, factor)
    known = names.maker_of(path)
    if known == "datm" and found.soft_labels is None:  # Others may keep a step size as well.
        known = "mtt"
    word = method or known
    maker = word if word in MAKERS else None
    found = dataclasses.replace(found, maker=maker, maker_typed=method is not None, dataset=names.dataset_of(path))
    _refuse_misshapen(path, found, len(classes))
    if factor is not None:
        found = dataclasses.replace(found, factor=factor)
    if found.maker == "glad":  # for ImageNet alone, whose statistics nobody has otherwise
        found = dataclasses.replace(found, zca=False, normalised=())
    for text in found.said:
        log.info("%s: %s", path, text)
    return found


def _read(path: Path, classes: tuple[str, ...], channels: int, factor: int | None) -> Imported:
    """The set by the reader that its name calls for."""
    name = path.name
    if path.is_dir():
        return folders.read(path, classes, channels)
    if names.TENSORS.fullmatch(name):
        reader = haba if names.maker_of(path) == "haba" else mtt
        return reader.read(path, len(classes))
    if names.EXPERIMENTS.fullmatch(name) or names.RELEASED.fullmatch(name):
        return dc.read(path)
    if names.PAIRS.fullmatch(name):
        return idc.read(path, factor)
    if path.suffix == ".pkl":
        return idm.read(path, factor)
    if names.KIP.fullmatch(name):
        return arrays.read(path, "kip", len(classes))
    if names.FREPO.fullmatch(name):
        return arrays.read(path, "frepo", len(classes))
    raise SettingError(f"synthetic={path}: not a file of a known kind; give {KINDS}")


def _refuse_misshapen(path: Path, found: Imported, classes: int) -> None:
    if found.images.ndim != 4 or found.labels.shape != found.images.shape[:1]:
        shapes = f"{list(found.images.shape)} and {list(found.labels.shape)}"
        raise SettingError(
            f"synthetic={path}: expected images [N, C, H, W] and labels [N], found {shapes}; give {KINDS}"
        )
    beyond = found.labels[(found.labels < 0) | (found.labels >= classes)]
    if len(beyond):
        raise SettingError(
            f"synthetic={path}: has label {int(beyond[0])}, the data set has {classes} classes; check dataset="
        )
    # Soft labels that are learned may name another class first than the image stands for.
    if (there := len(found.labels.unique())) < classes and found.soft_labels is None:
        raise SettingError(
            f"synthetic={path}: has images of {there} classes, the data set has {classes}; check dataset="
        )
    if found.soft_labels is not None:
        found.soft_labels.check(len(found.images), classes, f"synthetic={path}")


def refuse_open_normalisation(found: Imported, path: Path, typed: Collection[str]) -> None:
    """Refuse a set whose pixels may be normalised in several ways, when the user has not said which.

    Args:
        typed: the words or names of settings that the user typed, as ``zca`` or ``dataset.zca=true``.

    Raises:
        SettingError: with what can be typed. Nothing is guessed from the range of the values, which does not tell
            normalised from whitened images, nor one data set's statistics from another's.
    """
    given = {word.lstrip("+").partition("=")[0].rpartition(".")[2] for word in typed}
    if found.normalised and not given.intersection(DECIDES):
        raise SettingError(
            f"synthetic={path}: does not say how its pixels were normalised; give {'; or '.join(found.normalised)}"
        )
