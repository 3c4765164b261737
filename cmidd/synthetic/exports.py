"""Synthetic sets of ours in the formats of others, so that their code reads them."""

import dataclasses
import difflib
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from cmidd.data.preprocessing import Normalize
from cmidd.data.published import title_of
from cmidd.synthetic import exported
from cmidd.synthetic.pictures import new_folder
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import files
from cmidd.utils.checking import shown
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)
PARQUET = "data/train-00000-of-00001.parquet"


def write(synthetic: SyntheticSet, folder: Path, format: str = "png", *, hard: bool = False) -> None:
    """Write a set into a new folder, whole or not at all.

    Args:
        format: one of :data:`FORMATS`; only ``png`` holds all that a set has
            (:func:`cmidd.synthetic.exported.export`).
        hard: leave soft labels out.

    Raises:
        SettingError: when the folder exists and is not empty, or the format cannot hold the set, with the reason.
    """
    refuse_unknown(format)
    if hard:
        finished = [dataclasses.replace(stage, soft_labels=None) for stage in synthetic.finished]
        synthetic = dataclasses.replace(synthetic, soft_labels=None, finished=finished)
    FORMATS[format](synthetic, folder)


def refuse_unknown(format: str) -> None:
    """Refuse a format that is none of :data:`FORMATS`.

    Raises:
        SettingError: with the near one, and all there are.
    """
    if format not in FORMATS:
        close = difflib.get_close_matches(format, FORMATS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise SettingError(f"format={shown(format)}: unknown; {hint}choose one of {', '.join(FORMATS)}")


def _mtt(synthetic: SyntheticSet, folder: Path) -> None:
    """As MTT, DATM and TESLA save theirs, bare tensors: ``images_best.pt`` in network input space, ``labels_best.pt``
    ``[N]`` int64, or soft ones ``[N, C]`` as they are (DATM: logits, TESLA: probabilities), and the learned step size,
    ``lr_best.pt``, where there is one (DATM).
    """
    _refuse_stages(synthetic, "mtt")
    soft = synthetic.all_soft_labels
    tiles = synthetic.formation.tiles
    labels = synthetic.decode().labels if soft is None else soft.values.detach().repeat(tiles, 1)
    with new_folder(folder) as beside:
        torch.save(_decoded(synthetic), beside / "images_best.pt")
        torch.save(labels.cpu().contiguous(), beside / "labels_best.pt")
        if synthetic.syn_lr is not None:
            torch.save(synthetic.syn_lr.detach().cpu().clone(), beside / "lr_best.pt")
    if tiles > 1:
        log.info("the files do not say that none of these is a grid: evaluate them by a method of grids with factor=1")
    space = "whitened, with the whitening of the set"
    if isinstance(transform := synthetic.transform, Normalize):
        mean, std = ([round(value, 4) for value in each.tolist()] for each in (transform.mean, transform.std))
        space = f"normalised with mean {mean} and deviation {std} of the channels"
    log.info("the images are %s, which the files do not say", space)


def _dc(synthetic: SyntheticSet, folder: Path) -> None:
    """As DC, DSA and DM save theirs, ``res_<method>_<data set>_<network>_<ipc>ipc.pt``: a dictionary with one
    experiment in ``data`` and no accuracy, and the ``factor`` of its grids, which is 1: DC's code has none, and the
    method in the name may be one of grids.
    """
    _refuse_stages(synthetic, "dc")
    _refuse_soft_labels(synthetic, "dc")
    if not isinstance(synthetic.transform, Normalize):
        raise SettingError("format=dc: its images are normalised, those of the set are whitened; give format=mtt")
    about, labels = synthetic.about, synthetic.decode().labels.cpu()
    ipc = len(labels) // len(synthetic.classes)
    network = about.get("network", {}).get("name", "convnet").replace("convnet", "ConvNet")
    dataset = title_of(about.get("dataset", "set")).replace("-", "").replace("_", "")  # FashionMNIST
    content = {"data": [[_decoded(synthetic), labels]], "accs_all_exps": {}, "factor": 1}
    with new_folder(folder) as beside:
        torch.save(content, beside / f"res_{about.get('method', 'dm').upper()}_{dataset}_{network}_{ipc}ipc.pt")


def _idc(synthetic: SyntheticSet, folder: Path) -> None:
    """As IDC saves its own, ``data.pt`` and ``args.txt``: ``[pixels, labels]`` with the settings that decode them.

    Grids stay grids where IDC's code cuts the same images from them, and are written as their tiles otherwise.
    """
    _refuse_stages(synthetic, "idc")
    _refuse_soft_labels(synthetic, "idc")
    if _cut_alike(synthetic):
        factor, pixels, labels = synthetic.formation.factor, synthetic.raw_pixels(), synthetic.labels
    else:
        factor, pixels, labels = 1, synthetic.transform.inverse(_decoded(synthetic)), synthetic.decode().labels
    if not isinstance(synthetic.transform, Normalize):
        log.warning("the set is whitened, and IDC normalises its pixels: a network sees other images than the set's")
    classes = len(synthetic.classes)
    settings = {"factor": factor, "decode_type": "single", "ipc": len(labels) // classes, "nclass": classes}
    with new_folder(folder) as beside:
        torch.save([pixels.cpu().contiguous(), labels.cpu()], beside / "data.pt")
        files.write_json(beside / "args.txt", settings)


def _cut_alike(synthetic: SyntheticSet) -> bool:
    """Whether tiles cut from pixels are those that are cut from the stored images: resizing goes through a
    normalisation, and not through a whitening; IDC pads with the middle of the pixels.
    """
    formation = synthetic.formation
    whole = not any(side % formation.factor for side in synthetic.images.shape[2:])
    return formation.stored_as == "pixels" or (isinstance(synthetic.transform, Normalize) and whole)


def _parquet(synthetic: SyntheticSet, folder: Path) -> None:
    """As the Hugging Face hub keeps data sets, one row an image: ``image`` (``bytes`` of a PNG, ``path``) and
    ``label``, with the names of the classes.
    """
    _refuse_stages(synthetic, "parquet")
    _refuse_soft_labels(synthetic, "parquet")
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise SettingError("format=parquet: needs pyarrow; pip install 'cmidd[parquet]'") from error
    raw = synthetic.transform.inverse(_decoded(synthetic))
    exported.warn_of_clipping(raw)
    labels = synthetic.decode().labels.tolist()
    eight_bits = raw.clamp(0, 1).mul(255).round().byte()
    rows = [{"bytes": _png(each), "path": f"{number:05d}.png"} for number, each in enumerate(eight_bits)]
    kinds = {"image": {"_type": "Image"}, "label": {"names": list(synthetic.classes), "_type": "ClassLabel"}}
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema(
        [("image", picture), ("label", pyarrow.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": kinds}})},
    )
    with new_folder(folder) as beside:
        path = beside / PARQUET
        path.parent.mkdir()
        pyarrow.parquet.write_table(pyarrow.Table.from_pydict({"image": rows, "label": labels}, schema), path)


def _png(pixels: Tensor) -> bytes:
    from torchvision.transforms.functional import to_pil_image  # It imports for a second: here, where it is needed.

    to_pil_image(pixels).save(content := io.BytesIO(), format="PNG")
    return content.getvalue()


def _refuse_stages(synthetic: SyntheticSet, format: str) -> None:
    """Refuse a set whose images are trained on in turn."""
    if synthetic.finished:
        raise SettingError(
            f"format={format}: holds one stage, the set has {len(synthetic.finished) + 1}, each with images and a step "
            "size of its own; give format=png, or the safetensors file"
        )


def _refuse_soft_labels(synthetic: SyntheticSet, format: str) -> None:
    if synthetic.all_soft_labels is not None:
        raise SettingError(
            f"format={format}: holds hard labels, the set has soft ones; give format=mtt, or labels=hard "
            "to leave them out"
        )


def _decoded(synthetic: SyntheticSet) -> Tensor:
    """The images ``[N, C, H, W]`` that a network is trained on, in its input space; the log says where these are the
    tiles of grids.
    """
    if synthetic.formation.tiles > 1:
        log.info("the %d tiles of every image are written as images of their own", synthetic.formation.tiles)
    return synthetic.decode().images.cpu().contiguous()


FORMATS: dict[str, Callable[[SyntheticSet, Path], None]] = {
    "png": exported.export,
    "mtt": _mtt,
    "dc": _dc,
    "idc": _idc,
    "parquet": _parquet,
}
