"""Decoded pictures in a file, which is found again by what the picture files hold.

``<name>_<names>_<content>.safetensors`` has the pixels: ``names`` stands for the paths, labels and geometry and for
what decodes, ``content`` for the SHA-256 of every file. ``<name>_<names>_<look>.json`` says which content the files of
this folder, with these sizes and times of change, had: where it is there nothing is read but the pixels, where it is
not the files are hashed, and decoded if their content is new. A file that changes and keeps its size and its time to
the nanosecond is not noticed.
"""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import PIL
import torch

from cmidd.data.decoder import digest_of
from cmidd.data.decoders import cpus, together
from cmidd.data.image_files import Pictures
from cmidd.data.seen import Seen
from cmidd.data.split import Decoded
from cmidd.utils import cache, files, tensor_files
from cmidd.utils.errors import SettingError

log = logging.getLogger(__name__)
DECODER = 1  # Changes with the pixels that the same file gives.


def look(pictures: Pictures) -> list[tuple[int, int]]:
    """Size and time of change (nanoseconds) of every file; zeros for one that cannot be had, which decoding tells."""

    def of(path: Path) -> tuple[int, int]:
        try:
            found = os.stat(path)
        except OSError:
            return 0, 0
        return found.st_size, found.st_mtime_ns

    return [of(path) for path in pictures.paths]


class KeptPictures:
    """What is kept of ``pictures`` in ``folder``, where there is something.

    Args:
        looked: the files as :func:`look` found them.
    """

    def __init__(self, pictures: Pictures, folder: Path, name: str, looked: list[tuple[int, int]]) -> None:
        self.pictures, self.looked = pictures, looked
        above = str(pictures.root)
        self.made_by = {
            "paths": cache.fingerprint([str(path).removeprefix(above) for path in pictures.paths]),
            "labels": cache.fingerprint(pictures.labels.tolist()),
            "geometry": asdict(pictures.geometry),
            "decoder": [DECODER, PIL.__version__],
        }
        self._stem = f"{name}_{cache.fingerprint(self.made_by)}"
        at_a_look = cache.fingerprint([str(pictures.root.resolve()), looked])
        self.folder, self.index = folder, folder / f"{self._stem}_{at_a_look}.json"
        self.flaw: str | None = None

    def read(self) -> Decoded | None:
        """The pixels, mapped from the file; None where these files were not decoded, or what is kept is damaged."""
        if not self.index.exists():
            return None
        try:
            return self._read(str(files.read_json(self.index)["content"]))
        except (SettingError, KeyError, TypeError) as error:
            self.flaw = f"{self.index}: {error!r}" if isinstance(error, KeyError | TypeError) else str(error)
            return None

    def recognise(self) -> Decoded | None:
        """As :meth:`read`, of files that were touched or moved: by what they hold, which reads them all."""
        if self.flaw or not any(self.folder.glob(f"{self._stem}_*.safetensors")):
            return None
        try:
            with ThreadPoolExecutor(cpus()) as threads:
                content = together(list(threads.map(digest_of, self.pictures.paths)))
            if not self._place(content).exists():
                return None
            found = self._read(content)
        except (OSError, SettingError) as error:
            self.flaw = str(error)
            return None
        log.info("the same pictures as in %s", self._place(content))
        self._note(content)
        return found

    def write(self, found: Decoded, digests: Sequence[str]) -> None:
        """Keep the pixels; files that changed meanwhile are not known, and nothing is kept of them."""
        if look(self.pictures) != self.looked:
            log.warning("pictures changed while they were decoded: %s keeps nothing of them", self.folder)
            return
        content, tensors = together(digests), {"images": found.images, "labels": found.labels}
        about = {"made_by": self.made_by, "content": content, "seen": asdict(found.seen)}
        tensor_files.write_tensors(self._place(content), tensors, about)
        self._note(content)

    def _note(self, content: str) -> None:
        files.write_json(self.index, {"content": content, "root": str(self.pictures.root)})

    def _place(self, content: str) -> Path:
        return self.folder / f"{self._stem}_{content}.safetensors"

    def _read(self, content: str) -> Decoded:
        path, geometry = self._place(content), self.pictures.geometry
        if not content.isalnum():
            raise SettingError(f"{self.index}: damaged: no content is named {content[:40]!r}")
        tensors, about = tensor_files.read_tensors(path)
        shape = (len(self.pictures), geometry.channels, geometry.size, geometry.size)
        try:
            images, labels, seen = tensors["images"], tensors["labels"], Seen.of(about["seen"])
            if images.dtype != torch.uint8 or tuple(images.shape) != shape:
                raise ValueError(f"images {list(images.shape)} of {images.dtype} where there are {list(shape)}")
            if about["made_by"] != self.made_by or about["content"] != content:
                raise ValueError("made of other pictures")
            if not torch.equal(labels, self.pictures.labels):
                raise ValueError("labels of other pictures")
            return Decoded(images, labels, seen)
        except (KeyError, TypeError, ValueError) as error:
            raise SettingError(f"{path}: damaged ({error})") from error
