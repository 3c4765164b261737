"""A set of others as it was read, with all that its files say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from cmidd.data.whitening import Kind
from cmidd.synthetic.makers import MAKERS
from cmidd.synthetic.soft_labels import SoftLabels

KINDS = (
    "a run's folder, its synthetic.safetensors, a folder that export.py wrote, another of pictures (one subfolder per "
    "class), images_*.pt with labels_*.pt beside it (MTT, DATM, ...; weights_*.pt for HaBa), res_*.pt (DC, DSA, DM, "
    "DataDAM), data_*.pt (IDC, DREAM, NCFM), acc_*.pkl (IDM), kip_*.npz (KIP) or step*.npz (FRePo)"
)


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Images that others distilled.

    Attributes:
        images: ``[N, C, H, W]`` float32, in network input space or as ``pixels``, as ``stored_as`` says.
        labels: ``[N]`` int64, the class that an image stands for.
        soft_labels: what it is trained on instead, where the files hold it.
        syn_lr: the learned step size, where the files hold it.
        factor: tiles per side of its grids, with ``tile_order`` and ``shrink`` as a formation has them; None: the files
            say nothing of grids.
        maker: who made it, as far as the names of the files or the user tell (:data:`cmidd.synthetic.makers.MAKERS`).
        maker_typed: whether that is the user's word.
        dataset: of what it was made, as far as the names of the files tell.
        zca: whether the network that it was made for saw whitened images; None: the files leave it open.
        whitening: which one, where it is none of ours (:func:`cmidd.data.whitening.fit`).
        normalised: the ways in which its pixels may be normalised, as they are typed, where the files leave it open.
        said: what a reader decided for the user, in words, for the log.
    """

    images: Tensor
    labels: Tensor
    stored_as: Literal["input", "pixels"]
    soft_labels: SoftLabels | None = None
    syn_lr: float | None = None
    factor: int | None = None
    tile_order: Literal["rows", "columns"] | None = None
    shrink: Literal["nearest", "bilinear"] | None = None
    maker: str | None = None
    maker_typed: bool = False
    dataset: str | None = None
    zca: bool | None = None
    whitening: Kind | None = None
    normalised: tuple[str, ...] = ()
    said: tuple[str, ...] = ()

    @staticmethod
    def of_grids(count: int, where: str) -> str:
        """What is said of grids of ``count`` times ``count`` images; ``where`` tells how that is known."""
        return f"grids of {count} x {count} images ({where}; factor= says otherwise)"

    @property
    def method(self) -> str | None:
        """Our method under whose recipes it is evaluated."""
        return None if self.maker is None else MAKERS[self.maker].method

    @property
    def protocol(self) -> str | None:
        """Which of ``configs/evaluation`` it is published with; None: the method's own."""
        return None if self.maker is None else MAKERS[self.maker].protocol

    @property
    def dataset_settings(self) -> dict[str, Any]:
        """Settings of the data set that the files decide, or the maker whom the user named, and that its recipe may
        have otherwise. A maker who is only guessed decides nothing that is open.
        """
        said = dict(MAKERS[self.maker].dataset) if self.maker is not None and self.maker_typed else {}
        return said if self.zca is None else {**said, "zca": self.zca}

    def statistics(self, dataset: str) -> dict[str, str]:
        """The setting of a data set that says whose channel statistics normalise its pictures, where its maker's recipe
        says others; that leaves nothing open of what the files hold, so a maker who is guessed decides it too.
        """
        found = {} if self.maker is None else MAKERS[self.maker].statistics
        return {"statistics": found[dataset]} if dataset in found else {}

    @property
    def networks(self) -> Mapping[str, Mapping[str, str]]:
        """Settings of networks, by their names, as its maker's code has them."""
        return {} if self.maker is None else MAKERS[self.maker].networks
