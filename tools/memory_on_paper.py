"""Memory of a step at CIFAR100 on a GPU, counted without one: ``python tools/memory_on_paper.py``.

Every method's step is gone through with tensors that have shapes and no numbers, in float32, not compiled, by the paths
that a GPU takes; what is alive at once is added up. What CUDA itself and cuDNN's workspaces take comes on top.
"""

import weakref
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from cmidd.cli.compose import compose
from cmidd.compute import passes
from cmidd.compute.characteristic import characteristic_discrepancy
from cmidd.compute.embeddings import embed_real
from cmidd.compute.gradients import class_gradients
from cmidd.data.split import Split
from cmidd.networks import blank_network
from cmidd.runs.settings import Settings
from cmidd.utils.text import table_row

CLASSES, EACH, SHAPE, META = 100, 500, (3, 32, 32), torch.device("meta")
HELD = 60_000 * 3 * 32 * 32 + 60_000 * 8  # the data set: uint8 pixels, int64 labels
IPCS = (10, 50)


class Peak(TorchDispatchMode):
    """The most bytes of tensors without numbers that are alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._alive: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if any(each.is_meta for each in given):
            # Labels and indices have numbers, for members are looked for among them; they would be on the device.
            args, kwargs = tree_map_only(Tensor, lambda each: each.to(META), (args, kwargs))
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.is_meta:
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if (key := storage._cdata) not in self._alive:
            self._alive[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        self.now -= self._alive.pop(key)


def images_of(each: int, *, leaf: bool = False) -> Split:
    labels = torch.arange(CLASSES).repeat_interleave(each)
    return Split(torch.empty(len(labels), *SHAPE, device=META, requires_grad=leaf), labels)


def network_of(settings: Settings, name: str | None = None) -> Any:
    options = settings.network if name is None else {"name": name}
    return blank_network(image_shape=SHAPE, num_classes=CLASSES, **options)


def stepped(leaf: Split, loss: Tensor) -> None:
    """The gradient of a loss in the images, and their optimiser's momentum."""
    torch.autograd.grad(loss, leaf.images)
    torch.empty_like(leaf.images)


def siamese(settings: Settings, leaf: Split) -> tuple[Split, Split]:
    arguments, each = settings.arguments, len(leaf) // CLASSES * settings.formation.tiles
    labels = torch.arange(CLASSES).repeat_interleave(each)
    decoded = Split(settings.formation.cut(leaf.images), labels)
    if each > arguments.get("batch_syn_max", each):
        chosen = torch.arange(len(labels)).view(CLASSES, -1)[:, : arguments["batch_syn_max"]].flatten()
        decoded = decoded[chosen]
    real = images_of(min(arguments["batch_real"], EACH))
    both: tuple[Split, Split] = arguments["augment"].siamese(real, decoded, CLASSES, torch.Generator().manual_seed(0))
    return both


def by_embedding(settings: Settings, leaf: Split) -> None:
    network = network_of(settings).requires_grad_(False)
    real, augmented = siamese(settings, leaf)
    target = embed_real(network, real.images)
    stepped(leaf, (passes.embed_in_chunks(network, augmented.images).sum(0) - target.sum(0)).square().sum())


def by_characteristic(settings: Settings, leaf: Split) -> None:
    """The match, and the calibration when that is gone."""
    network, tiles = network_of(settings).requires_grad_(False), len(leaf) // CLASSES * settings.formation.tiles
    matched(settings, leaf, network)
    transform = settings.arguments["augment"].per_class(CLASSES, torch.Generator().manual_seed(0))
    augmented = transform(settings.formation.cut(leaf.images), torch.arange(CLASSES).repeat_interleave(tiles))
    stepped(leaf, passes.logits_in_chunks(network, augmented).sum())


def matched(settings: Settings, leaf: Split, network: Any) -> None:
    """NCFM's match, with the frequencies of every class."""
    real, augmented = siamese(settings, leaf)
    sides = embed_real(network, real.images), passes.embed_in_chunks(network, augmented.images)
    losses, count = [], settings.arguments["num_freqs"]
    for own in zip(*(side.chunk(CLASSES) for side in sides), strict=True):
        losses.append(characteristic_discrepancy(*own, torch.empty(count, own[0].shape[1], device=META)))
    stepped(leaf, torch.stack(losses).sum())


def by_gradient(settings: Settings, leaf: Split) -> None:
    network = network_of(settings)
    real, augmented = siamese(settings, leaf)
    target = class_gradients(network, real, CLASSES, create_graph=False)
    gradients = class_gradients(network, augmented, CLASSES, create_graph=True)
    stepped(leaf, torch.stack([(a - b).square().sum() for a, b in zip(gradients, target, strict=True)]).sum())


def by_trajectory(settings: Settings, leaf: Split) -> None:
    network, batch = network_of(settings), settings.arguments["batch_syn"] or len(leaf)
    size = sum(parameter.numel() for parameter in network.parameters())
    thetas = [torch.empty(size, device=META) for _ in range(settings.arguments["syn_steps"])]
    labels, generator = leaf.labels[:batch], torch.Generator().manual_seed(0)
    chosen = leaf.images[torch.arange(batch)]
    augmented = settings.arguments["augment"].per_image(batch, generator)(chosen)
    passes.gradient_at(network, thetas[0], augmented.detach(), labels)
    d_batch = passes.along(network, thetas[0], thetas[-1], augmented, labels).images
    torch.autograd.grad(augmented, leaf.images, d_batch)
    stepped(leaf, leaf.images.sum())


def of_cmi(settings: Settings, leaf: Split) -> None:
    teacher = network_of(settings, settings.cmi.teacher).requires_grad_(False).eval()
    stepped(leaf, passes.embed_in_chunks(teacher, leaf.images).log_softmax(1).sum())


STEPS: dict[str, tuple[list[str], Callable[[Settings, Split], None]]] = {
    "DM": (["method=dm"], by_embedding),
    "DC": (["method=dc"], by_gradient),
    "DSA": (["method=dsa"], by_gradient),
    "IDC": (["method=idc"], by_gradient),
    "IDM": (["method=idm"], by_embedding),
    "MTT": (["method=mtt"], by_trajectory),
    "DATM": (["method=datm"], by_trajectory),
    "NCFM": (["method=ncfm"], by_characteristic),
    "CMI alone, a ResNet18": (["method=dm"], of_cmi),
}


def gib(words: list[str], step: Callable[[Settings, Split], None], ipc: int) -> float:
    settings = compose([*words, "dataset=cifar100", f"ipc={ipc}"])
    with patch.object(Tensor, "is_cuda", property(lambda tensor: tensor.is_meta)), Peak() as peak:
        step(settings, images_of(ipc, leaf=True))
    return (peak.most + HELD) / 2**30


if __name__ == "__main__":
    print(table_row(["GiB, CIFAR100", *(f"IPC {ipc}" for ipc in IPCS)]))
    print("| --- |" + " ---: |" * len(IPCS))
    for title, (words, step) in STEPS.items():
        print(table_row([title, *(f"{gib(words, step, ipc):.1f}" for ipc in IPCS)]), flush=True)
