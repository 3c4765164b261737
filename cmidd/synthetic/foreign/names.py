"""What the names of others' files and of their folders tell."""

import re
from pathlib import Path

TENSORS = re.compile(r"(?P<kind>(ema_)?images)_(?P<which>.+)\.pt")  # MTT and those after it
EXPERIMENTS = re.compile(r"res_(?P<maker>[^_]+)_.*\.pt")  # DC, DSA, DM, DataDAM
RELEASED = re.compile(r"syn_data_(?P<dataset>.+)_ipc_\d+\.pt")  # DataDAM
PAIRS = re.compile(r"data(\d*|_.+)\.pt")  # IDC, DREAM, NCFM
KIP = re.compile(r"kip_(?P<dataset>[a-z0-9]+)_.*\.npz")
FREPO = re.compile(r"step\d+\.npz")
OF_IDM = re.compile(r"(?P<dataset>[^_]+)_ipc_\d+_aug_(?P<grids>True|False)_.*")  # the folder of its checkpoints

DATASETS = {"fashionmnist": "fashion_mnist", "fashion": "fashion_mnist", "tiny": "tiny_imagenet"}
DATASETS["tinyimagenet"] = DATASETS["tiny"]


def dataset_of(path: Path) -> str | None:
    """The data set that a set was made of."""
    if found := RELEASED.fullmatch(path.name) or KIP.fullmatch(path.name):
        said = found["dataset"]
    elif EXPERIMENTS.fullmatch(path.name):
        said = [*path.stem.split("_")[2:3], ""][0]
    elif path.suffix == ".pkl" and (found := OF_IDM.fullmatch(path.parent.name)):
        said = found["dataset"]
    else:
        return None
    return DATASETS.get(said.lower(), said.lower()) or None


def sets_in(folder: Path) -> list[str]:
    """The files of a folder that are sets by their names, those first that their makers call the best."""
    kinds = (TENSORS, EXPERIMENTS, RELEASED, PAIRS, KIP, FREPO)
    every = [path.name for path in folder.iterdir() if path.is_file()]
    found = [name for name in every if name.endswith(".pkl") or any(kind.fullmatch(name) for kind in kinds)]
    return sorted(found, key=lambda name: ("best" not in name, name))


def maker_of(path: Path) -> str | None:
    """Who made a set, a word of :data:`cmidd.synthetic.makers.MAKERS` or another."""
    name = path.name
    if path.is_dir():
        return _of_folder(path)
    if found := TENSORS.fullmatch(name):
        return _of_tensors(path, found)
    if found := EXPERIMENTS.fullmatch(name):
        return found["maker"].lower()
    if RELEASED.fullmatch(name):
        return "datadam"
    if PAIRS.fullmatch(name):
        if path.parent.name == "distilled_data":
            return "ncfm"
        return "dream" if re.fullmatch(r"data\d+\.pt", name) else "idc"
    for maker, pattern in (("kip", KIP), ("frepo", FREPO)):
        if pattern.fullmatch(name):
            return maker
    return "idm" if path.suffix == ".pkl" else None


def _of_tensors(path: Path, found: re.Match[str]) -> str:
    """MTT, but where a file beside it or the name is another's."""
    which = found["which"]
    if found["kind"] == "ema_images":
        return "ftd"
    if re.fullmatch(r"0\d{4}", which):
        return "glad"
    for maker, beside in (
        ("haba", f"weights_{which}.pt"),
        ("haba", f"styles_{which}.pt"),
        ("datm", f"lr_{which}.pt"),
        ("pdd", f"syn_lr_{which}.pt"),
        *([("seqmatch", "best_lr.pt")] if which == "best" else []),
    ):
        if path.with_name(beside).exists():
            return maker
    return "mtt"


def _of_folder(path: Path) -> str | None:
    pictures = (path / "00000" / "class00000_id00000.jpg", "rded"), (path / "new000" / "class000_id000.jpg", "sre2l")
    return next((maker for picture, maker in pictures if picture.exists()), None)
