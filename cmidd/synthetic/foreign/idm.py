"""Sets of IDM: ``acc_*.pkl``, pickles of two tensors that may name nothing but what makes a tensor."""

import collections
import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmidd.data.split import MOST_BYTES
from cmidd.synthetic.foreign.contents import pair, unreadable
from cmidd.synthetic.foreign.imported import KINDS, Imported
from cmidd.synthetic.foreign.names import OF_IDM
from cmidd.utils.errors import SettingError

MOST_STEPS = 10_000  # of a pickle; two tensors take about 70


def read(path: Path, factor: int | None) -> Imported:
    """A pickle of ``(images, labels)`` that lay on a GPU; images are grids of four in columns, as its paper has them.

    The folder of its checkpoints says whether they are grids; the user's ``factor`` goes before.

    Raises:
        SettingError: when it is absent or damaged, or names anything that makes no tensor; nothing of it is called.
    """
    images, labels = pair(path, _unpickled(path))
    folder = OF_IDM.fullmatch(path.parent.name)
    found = 1 if folder is not None and folder["grids"] == "False" else 2
    where = "as published" if folder is None else f"as its folder {path.parent.name} says"
    return Imported(
        images=images,
        labels=labels,
        stored_as="input",
        factor=found if factor is None else factor,
        tile_order="columns",
        shrink="bilinear",
        zca=False,
        said=() if factor else (Imported.of_grids(found, where),),
    )


def _unpickled(path: Path) -> Any:
    if not path.is_file():
        raise SettingError(f"synthetic: {path} is missing; give {KINDS}")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes, at most {MOST_BYTES} are read")
        content = path.read_bytes()
        _refuse_waste(content)
        return _Tensors(io.BytesIO(content)).load()
    except Exception as error:  # A damaged pickle may raise any kind.
        raise unreadable(path, error) from error


def _refuse_waste(content: bytes) -> None:
    """Refuse a pickle of very many steps, or that remembers something at a far place: both may take all memory."""
    for number, (step, argument, _) in enumerate(pickletools.genops(content)):
        far = "PUT" in step.name and isinstance(argument, int) and argument > MOST_STEPS
        if number > MOST_STEPS or far:
            raise ValueError("more than two tensors need")


class _Tensors(pickle.Unpickler):
    """The unpickler of tensors on the CPU: three names are known, and none of them is what the pickle means."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            "torch._utils._rebuild_tensor_v2": _rebuilt,
            "torch.storage._load_from_bytes": _storage,
            "collections.OrderedDict": collections.OrderedDict,
        }
        if (wanted := f"{module}.{name}") not in allowed:
            raise pickle.UnpicklingError(f"it names {wanted}, which makes no tensor")
        return allowed[wanted]


def _storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _rebuilt(storage: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Tensor:
    """The tensor over a storage, which is not made larger for it."""
    if not isinstance(storage, torch.storage.TypedStorage):
        raise pickle.UnpicklingError("a tensor of no storage")
    whole = torch.tensor([], dtype=storage.dtype).set_(storage._untyped_storage)
    return whole.as_strided(shape, strides, offset)
