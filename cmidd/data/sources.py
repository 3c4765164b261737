"""Reading the published data sets, from whichever of their files there are."""

import contextlib
import gzip
import hashlib
import logging
import math
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cmidd.data.array_files import find_published
from cmidd.data.published import PUBLISHED
from cmidd.data.split import MOST_BYTES, Source, Split
from cmidd.utils import files, locks
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)
# Where Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def read_published(name: str, root: Path, download: bool) -> Source:
    """A published data set from its own files, else from arrays or parquet under ``root``, else downloaded.

    Where its own files are not usable, and cannot be downloaded, arrays or parquet stand in for them too.

    Raises:
        SettingError: when none of them is there, or one is damaged.
    """
    if root.is_file():
        raise SettingError(
            f"data.root={root}: a file, and dataset={name} looks in a folder; give data.root={root.parent}, or "
            f"dataset=arrays data.root={root}"
        )
    published = has_published_files(name, root)
    if not published and (found := find_published(name, root)):
        return found
    if name == "fashion_mnist" and not (root / "FashionMNIST" / "raw").is_dir() and DEBIAN_FASHION_MNIST.is_dir():
        return _from_debian()
    try:
        return from_torchvision(name, root, download)
    except SettingError as error:
        if not published or (found := find_published(name, root)) is None:
            raise
        log.warning("%s; %s is read instead", str(error).partition(" -- ")[0], found.origin)
        return found


def from_torchvision(name: str, root: Path, download: bool) -> Source:
    """One of torchvision's own classes, downloaded with checksum when ``download`` and not yet in ``root``."""
    import torchvision.datasets as tv

    known = PUBLISHED[name]
    kind = getattr(tv, known.torchvision)
    halves = [{"split": "train"}, {"split": "test"}] if name == "svhn" else [{"train": True}, {"train": False}]
    made = files.absent_parents(root / known.torchvision / "raw" / "file") if download else []
    try:
        with _alone(root / name, download):
            train, test = (kind(root, download=download, **half) for half in halves)
            splits = _split_of(train), _split_of(test)
            origin = None if _is_published(splits, known.unpacked) else f"{known.torchvision}/raw"
    except Exception as error:  # torchvision raises whatever a damaged file leads to.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise SettingError(
            f"dataset={name}: looked for {known.files} in {root.resolve()} (data.root), not usable: {reason} "
            "-- either run once with a network and data.download=true, or put the published files there"
            f"{_checksums(kind) if name == 'svhn' else ''}"
            f", or {name}.npz with train_images, train_labels, test_images and test_labels"
            + (", or apt-get install dataset-fashion-mnist" if name == "fashion_mnist" else "")
        ) from error
    finally:  # What a download that failed made for it.
        files.remove_empty(made)
    if origin:
        log.warning("dataset=%s: not the published files in %s; what is made from them is kept apart", name, origin)
    return Source(*splits, tuple(getattr(train, "classes", None) or known.classes), origin=origin)


def _is_published(splits: Iterable[Split], sums: Sequence[str]) -> bool:
    """Whether images and labels, written as the idx files that torchvision read, have their published checksums."""
    tensors = [each for split in splits for each in (split.images[:, 0], split.labels.to(torch.uint8))]
    return not sums or [_digest_as_idx(tensor) for tensor in tensors] == list(sums)


def _digest_as_idx(tensor: Tensor) -> str:
    header = bytes([0, 0, 8, tensor.ndim]) + np.array(tensor.shape, ">u4").tobytes()
    return hashlib.sha256(header + tensor.contiguous().numpy().tobytes()).hexdigest()


def _checksums(svhn: Any) -> str:
    """Where SVHN's two files come from and their MD5 sums, as torchvision's table has them: its host is often away."""
    rows = [svhn.split_list[part] for part in ("train", "test")]
    return f" ({'; '.join(f'{name} from {url}, MD5 {md5}' for url, name, md5 in rows)})"


def has_published_files(name: str, root: Path) -> bool:
    """Whether torchvision's files of a data set, or some of them, are in ``root``."""
    if name == "svhn":
        return any((root / f"{part}_32x32.mat").exists() for part in ("train", "test"))
    return (root / PUBLISHED[name].files.split("{")[0]).is_dir()


@contextlib.contextmanager
def _alone(path: Path, download: bool) -> Iterator[None]:
    """One process at a time: torchvision writes a download straight into its place, where others would read a part."""
    if download:
        path.parent.mkdir(parents=True, exist_ok=True)
    writable = download and os.access(path.parent, os.W_OK)
    with locks.locked(path, wait=True) if writable else contextlib.nullcontext():
        yield


def _from_debian() -> Source:
    """Fashion-MNIST from the files of Debian's package."""
    splits = [
        Split(
            _read_idx(DEBIAN_FASHION_MNIST / f"{part}-images-idx3-ubyte.gz")[:, None],
            _read_idx(DEBIAN_FASHION_MNIST / f"{part}-labels-idx1-ubyte.gz").long(),
        )
        for part in ("train", "t10k")
    ]
    return Source(splits[0], splits[1], PUBLISHED["fashion_mnist"].classes)


def _split_of(dataset: object) -> Split:
    """The tensors inside a torchvision data set; they differ in layout and in the name of the labels."""
    data = torch.as_tensor(dataset.data)  # type: ignore[attr-defined]
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets  # type: ignore[attr-defined]
    if data.ndim == 3:  # MNIST: [N, H, W]
        data = data[:, None]
    elif data.shape[-1] == 3:  # CIFAR: [N, H, W, C]; SVHN is [N, C, H, W] already
        data = data.permute(0, 3, 1, 2)
    return Split(data.contiguous(), torch.as_tensor(labels, dtype=torch.int64))


def _read_idx(path: Path) -> Tensor:
    """A gzipped idx file of unsigned bytes: magic, one big-endian length per dimension, the bytes.

    Raises:
        SettingError: when it is damaged; no more is unpacked than its header announces.
    """
    try:
        with gzip.open(path) as file:
            magic = file.read(4)
            if magic[:3] != bytes([0, 0, 8]) or magic[3:] not in (b"\1", b"\3"):
                raise ValueError("no idx file of bytes")
            shape = np.frombuffer(file.read(4 * magic[3]), ">u4", count=magic[3]).astype(int).tolist()
            count = math.prod(shape)
            content = file.read(count + 1) if count <= MOST_BYTES else b""
            if len(content) != count:
                raise ValueError(f"announces {shape}, and does not hold that")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise SettingError(f"{path}: damaged ({error}); apt-get install --reinstall dataset-fashion-mnist") from error
    return torch.tensor(np.frombuffer(content, np.uint8).reshape(shape))
