"""One optimiser step of a method: its loss, and what regularisers see."""

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from cmidd.compute.embeddings import embed_real
from cmidd.compute.passes import embed_in_chunks
from cmidd.data.split import Split
from cmidd.networks import Network


@dataclass(frozen=True)
class Match:
    """One optimiser step: the method's loss (per class ``[C]``, or a scalar) and what regularisers see.

    Attributes:
        images: the synthetic images in network input space, as stored (DM, DC, DSA, MTT) or decoded (IDC, IDM).
        labels: their labels.
        network: the matching network, where there is one (:attr:`Method.gives`).
        real: the augmented batch of real images, where there is one.
        synthetic: the synthetic batch, augmented alike.
        embedded: the embeddings of ``real`` (without a graph) and ``synthetic`` in ``network``, where the method
            made them.
        scale: how many losses a regulariser is added to: one, or one per class where the reference takes a
            step for each class and adds the term to each (IDC, IDM).
        draw: regularisers draw anew where this number changes within an iteration.
        beside: what metrics call the loss where it is one beside the method's own, to which no regulariser is added.
        declined: whether the method wants no step: nothing moves then, momenta included (DATM's gate).
    """

    loss: Tensor
    images: Tensor
    labels: Tensor
    network: Network | None = None
    real: Split | None = None
    synthetic: Split | None = None
    embedded: tuple[Tensor, Tensor] | None = None
    scale: int = 1
    draw: int = 0
    beside: str | None = None
    declined: bool = False

    @cached_property
    def embeddings(self) -> tuple[Tensor, Tensor]:
        """:attr:`embedded`, made now if the method did not: every batch passes the network once, whoever asks."""
        if self.embedded is not None:
            return self.embedded
        assert self.network is not None and self.real is not None and self.synthetic is not None
        return embed_real(self.network, self.real.images), embed_in_chunks(self.network, self.synthetic.images)
