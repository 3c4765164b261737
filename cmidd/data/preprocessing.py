"""Maps from pixels in [0, 1] to a network's input space and back: channel normalisation, ZCA whitening, both."""

from typing import Protocol

import torch
from torch import Tensor


class Preprocessing(Protocol):
    """A map that every real and synthetic image of a run has gone through."""

    def __call__(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], ``[C, H, W]`` or ``[N, C, H, W]``, to network input of the same shape.

        Raises:
            TypeError: for whole numbers, and for what is no tensor.
        """

    def inverse(self, images: Tensor) -> Tensor:
        """Network input back to pixels (not clipped), same shape."""

    def tensors(self) -> dict[str, Tensor]:
        """What :func:`from_tensors` needs to make the same map again, bit for bit."""


class _Like:
    """A tensor of a map in the dtype and on the device of images: copied to a device once."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._copies: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        if not (isinstance(images, Tensor) and images.is_floating_point()):  # As an integer a deviation would be 0.
            kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise TypeError(
                f"pixels of {kind}; give a tensor of floats in [0, 1], [N, C, H, W] (of bytes: pixels.float() / 255; "
                "of a picture: torchvision.transforms.functional.to_tensor(picture))"
            )
        place = images.dtype, images.device
        if place not in self._copies:
            self._copies[place] = self.tensor.to(images)
        return self._copies[place]


class Normalize:
    """Subtract the mean and divide by the standard deviation of each channel (both ``[C]``)."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = mean, std
        self._mean_like, self._std_like = _Like(mean), _Like(std)

    def __call__(self, pixels: Tensor) -> Tensor:
        mean, std = self._like(pixels)
        return (pixels - mean) / std

    def inverse(self, images: Tensor) -> Tensor:
        mean, std = self._like(images)
        return images * std + mean

    def tensors(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "std": self.std}

    def _like(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self._mean_like(images)[:, None, None], self._std_like(images)[:, None, None]


class ZCA:
    """ZCA whitening, the preprocessing of MTT (kornia's formula).

    With the covariance ``U diag(s) U^T`` of the flattened training pixels and their mean ``mu``:
    ``z = (x - mu) U diag(s + eps)^(-1/2) U^T``. No channel normalisation before, no rescaling after.

    ``mean`` is ``[D]``, ``eigenvectors`` ``[D, D]``, ``eigenvalues`` ``[D]``, with ``D = C * H * W``.
    """

    def __init__(self, mean: Tensor, eigenvectors: Tensor, eigenvalues: Tensor, eps: float = 0.1) -> None:
        self.mean, self.eigenvectors, self.eigenvalues, self.eps = mean, eigenvectors, eigenvalues, eps
        basis, scale = eigenvectors.double(), (eigenvalues.double() + eps).sqrt()
        self._mean = _Like(mean)
        self._whiten = _Like((basis / scale @ basis.T).to(mean.dtype))
        self._color = _Like((basis * scale @ basis.T).to(mean.dtype))

    @classmethod
    def fit(cls, pixels: Tensor, eps: float = 0.1) -> "ZCA":
        """Whitening of training pixels ``[N, C, H, W]`` in [0, 1]; decomposed in float64."""
        flat = pixels.flatten(1).double()
        mean = flat.mean(0)
        centred = flat - mean
        eigenvalues, eigenvectors = torch.linalg.eigh(centred.T @ centred / (len(flat) - 1))
        # Rounding may push a zero eigenvalue below zero.
        return cls(mean.float(), eigenvectors.float(), eigenvalues.clamp(min=0).float(), eps)

    @staticmethod
    def bytes_to_fit(count: int, size: int) -> int:
        """What :meth:`fit` holds at its most, for ``count`` images of ``size`` numbers.

        Of ``[D, D]`` four matrices in float64 (eigenvectors, these again and scaled, their product) and three in
        float32 (eigenvectors, both maps); of ``[N, D]`` the images in float32, in float64, and centred.
        """
        return (4 * 8 + 3 * 4) * size**2 + (4 + 2 * 8) * count * size

    def __call__(self, pixels: Tensor) -> Tensor:
        mean = self._mean(pixels)  # First: it refuses what are no pixels.
        flat = pixels.reshape(-1, len(mean)) - mean
        return (flat @ self._whiten(pixels)).reshape(pixels.shape)

    def inverse(self, images: Tensor) -> Tensor:
        flat = images.reshape(-1, len(self.mean)) @ self._color(images)
        return (flat + self._mean(images)).reshape(images.shape)

    def tensors(self) -> dict[str, Tensor]:
        return {
            "zca_mean": self.mean,
            "zca_eigenvectors": self.eigenvectors,
            "zca_eigenvalues": self.eigenvalues,
            "zca_eps": torch.tensor(self.eps, dtype=torch.float64),
        }


class EachImage:
    """Take its mean from each image and divide it by its length (KIP).

    What is taken away is lost: pictures are given back the mean ``level`` and ``length`` of training images.
    """

    def __init__(self, level: Tensor, length: Tensor) -> None:
        self.level, self.length = level, length

    @classmethod
    def fit(cls, pixels: Tensor) -> "EachImage":
        """With the level and length of training pixels ``[N, C, H, W]`` in [0, 1]."""
        flat = pixels.flatten(1)
        levels = flat.mean(1)
        lengths = (flat.square().sum(1) - flat.shape[1] * levels.square()).clamp(min=0).sqrt()
        return cls(levels.mean(), lengths.mean())

    def __call__(self, pixels: Tensor) -> Tensor:
        around = pixels - pixels.mean((-3, -2, -1), keepdim=True)
        # An image of one colour has no length.
        return around / around.square().sum((-3, -2, -1), keepdim=True).sqrt().clamp(min=1e-8)

    def inverse(self, images: Tensor) -> Tensor:
        return images * self.length.to(images) + self.level.to(images)

    def tensors(self) -> dict[str, Tensor]:
        return {"image_level": self.level, "image_length": self.length}


class Whitened:
    """Whitening after another map: of KIP after :class:`EachImage`, of FRePo after :class:`Normalize`."""

    def __init__(self, first: Normalize | EachImage, zca: ZCA) -> None:
        self.first, self.zca = first, zca

    def __call__(self, pixels: Tensor) -> Tensor:
        return self.zca(self.first(pixels))

    def inverse(self, images: Tensor) -> Tensor:
        return self.first.inverse(self.zca.inverse(images))

    def tensors(self) -> dict[str, Tensor]:
        return {**self.first.tensors(), **self.zca.tensors()}


def expected_shapes(tensors: dict[str, Tensor], images: Tensor) -> dict[str, list[int]]:
    """Which tensors :func:`from_tensors` reads for such ``images``, and their shapes."""
    channels: dict[str, list[int]] = {"mean": [images.shape[1]], "std": [images.shape[1]]}
    if "zca_mean" not in tensors:
        return channels
    size = images[0].numel()
    first = channels if "mean" in tensors else {"image_level": [], "image_length": []}
    zca = {"zca_mean": [size], "zca_eigenvectors": [size, size], "zca_eigenvalues": [size], "zca_eps": []}
    return {**(first if {"mean", "image_level"} & tensors.keys() else {}), **zca}


def from_tensors(tensors: dict[str, Tensor]) -> Preprocessing:
    """The preprocessing whose ``tensors()`` were stored; other names are ignored."""
    if "zca_mean" in tensors:
        mean, vectors, values = (tensors[f"zca_{name}"] for name in ("mean", "eigenvectors", "eigenvalues"))
        zca = ZCA(mean, vectors, values, eps=float(tensors["zca_eps"]))
        if "mean" in tensors:
            return Whitened(Normalize(tensors["mean"], tensors["std"]), zca)
        if "image_level" in tensors:
            return Whitened(EachImage(tensors["image_level"], tensors["image_length"]), zca)
        return zca
    return Normalize(tensors["mean"], tensors["std"])
