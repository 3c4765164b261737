"""The whitening of KIP and of FRePo, fitted to training images."""

from typing import Literal

import torch
from torch import Tensor

from cmidd.data.preprocessing import ZCA, EachImage, Normalize, Preprocessing, Whitened
from cmidd.data.published import PUBLISHED
from cmidd.utils.errors import SettingError

Kind = Literal["kip", "frepo"]
STRENGTH = 0.1  # of the regularisation, times the mean variance
AT_ONCE = 4096  # images whose covariance is added up in one product
# FRePo's mean and deviation of the channels where they are not the published ones (lib/dataset/dataloader.py:15-26).
OF_FREPO = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "tiny_imagenet": ((0.4759, 0.4481, 0.3926), (0.2763, 0.2687, 0.2813)),
    **{name: (PUBLISHED[name].mean, PUBLISHED[name].std) for name in ("mnist", "fashion_mnist", "cifar100")},
}
NOT_WHITENED = ("mnist", "fashion_mnist")


def fit(kind: Kind, pixels: Tensor, dataset: str) -> Preprocessing:
    """The preprocessing of others' code for training pixels ``[N, C, H, W]`` in [0, 1].

    KIP takes its mean from each image, divides it by its length, and whitens what is left without another mean; FRePo
    normalises the channels and whitens, but MNIST and Fashion-MNIST. Both add a tenth of the mean variance to all.

    Raises:
        SettingError: when FRePo's code has no such whitening for the data set.
    """
    if kind == "kip":
        first: EachImage | Normalize = EachImage.fit(pixels)
        return Whitened(first, _zca(first, pixels, centred=False))
    if dataset not in OF_FREPO:
        raise SettingError(
            f"dataset={dataset}: FRePo's whitening is read for {', '.join(OF_FREPO)}; it whitens other sets in blocks, "
            "or has none for them"
        )
    mean, std = map(torch.tensor, OF_FREPO[dataset])
    first = Normalize(mean, std)
    return first if dataset in NOT_WHITENED else Whitened(first, _zca(first, pixels, centred=True))


def _zca(first: Preprocessing, pixels: Tensor, *, centred: bool) -> ZCA:
    """Whitening of what ``first`` makes of pixels; in parts, since all of them in float64 take gigabytes."""
    size = pixels[0].numel()
    mean, products = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size, dtype=torch.float64)
    for part in pixels.split(AT_ONCE):
        flat = first(part).flatten(1).double().cpu()
        mean += flat.sum(0) / len(pixels)
        products += flat.T @ flat / len(pixels)
    if centred:
        products -= mean.outer(mean)
    else:
        mean = torch.zeros_like(mean)
    eigenvalues, eigenvectors = torch.linalg.eigh(products)
    strength = STRENGTH * float(products.trace()) / size
    return ZCA(mean.float(), eigenvectors.float(), eigenvalues.clamp(min=0).float(), eps=strength)
