"""Sets of MTT and those after it: ``images_*.pt`` with ``labels_*.pt`` beside, and step sizes of some."""

import re
from pathlib import Path

from cmidd.synthetic.foreign.contents import dense_tensor, images_of, labels_of, load, together
from cmidd.synthetic.foreign.imported import KINDS, Imported
from cmidd.synthetic.foreign.names import TENSORS
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.utils.errors import SettingError

# DATM's, PDD's and SeqMatch's names, by the part that they share with the images'.
STEP_SIZES = ("lr_{}.pt", "syn_lr_{}.pt", "{}_lr.pt")
WAYS = (
    "method=mtt, method=datm or another that made it (its recipe then says how)",
    "zca=true",
    "zca=false, with statistics=<a data set's> where it was normalised with another's (MTT, DATM and TESLA: CIFAR100 "
    "with statistics=cifar10)",
)


def read(path: Path, classes: int) -> Imported:
    """Tensors of MTT, DATM, TESLA, FTD, ATT, PDD, SeqMatch and GLaD; several parts of a set are put together.

    ``images_zca_*`` are images whose whitening was undone: pixels, of which the networks saw the whitened ones.

    Raises:
        SettingError: when a file is absent or damaged, or a part is missing.
    """
    files = _parts(path)
    images = together(path, [images_of(file, load(file)) for file in files])
    beside = [_labels_beside(file) for file in files]
    read_labels = [labels_of(file, load(file), classes) for file in beside]
    if len({soft is None for _, soft in read_labels}) > 1:
        raise SettingError(f"synthetic={path}: some parts have soft labels and some have not; give parts of one set")
    labels = together(path, [hard for hard, _ in read_labels])
    values = [soft.values for _, soft in read_labels if soft is not None]
    soft = SoftLabels.told_by_values(together(path, values)) if values else None
    pixels = _which(path).startswith("zca_")
    said = [f"put together of {len(files)} parts, {files[0].name} to {files[-1].name}"] if len(files) > 1 else []
    if pixels:
        said.append("the whitening of its images was undone: they are whitened again")
    return Imported(
        images=images,
        labels=labels,
        stored_as="pixels" if pixels else "input",
        soft_labels=soft,
        syn_lr=_step_size(path),
        zca=True if pixels else None,
        normalised=() if pixels else WAYS,
        said=tuple(said),
    )


def _which(path: Path) -> str:
    found = TENSORS.fullmatch(path.name)
    assert found is not None, path
    return found["which"]


def _labels_beside(path: Path) -> Path:
    """Where the labels of images are: those of ``images_zca_5000.pt`` are the same as of ``images_5000.pt``."""
    return path.with_name(path.name.replace("images_zca_", "images_", 1).replace("images_", "labels_", 1))


def _parts(path: Path) -> list[Path]:
    """The parts of a set, by number, of which ``path`` is one (``images_best_0.pt`` to ``images_best_4.pt``)."""
    found = re.fullmatch(r"(?!zca_)(.+)_\d+", _which(path))
    if found is None:
        return [path]
    start = path.name.removesuffix(f"{_which(path)}.pt") + found[1]
    numbered = {
        int(part[1]): other
        for other in path.parent.iterdir()
        if (part := re.fullmatch(rf"{re.escape(start)}_(\d+)\.pt", other.name))
    }
    for number in range(max(numbered, default=-1)):
        if number not in numbered:
            raise SettingError(
                f"synthetic={path}: {start}_{number}.pt is missing beside {start}_{max(numbered)}.pt; put all parts of "
                "the set there"
            )
    return [numbered[number] for number in sorted(numbered)] or [path]


def _step_size(path: Path) -> float | None:
    which = _which(path)
    for name in STEP_SIZES:
        beside = path.with_name(name.format(which))
        if beside.exists():
            value = dense_tensor(beside, load(beside))
            if value.numel() != 1 or float(value) <= 0:
                raise SettingError(
                    f"synthetic={path}: {beside.name} beside it holds {value.flatten().tolist()[:3]} instead of one "
                    f"positive step size; give {KINDS}"
                )
            return float(value)
    return None
