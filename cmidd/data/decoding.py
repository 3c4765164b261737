"""Decoding the pictures of a data set once: by several processes, into a file that later starts read."""

import logging
from pathlib import Path

from cmidd.data.decoders import MOST_PROCESSES, cpus, decode
from cmidd.data.image_files import Pictures
from cmidd.data.kept_pictures import KeptPictures, look
from cmidd.data.split import Decoded
from cmidd.utils import locks

log = logging.getLogger(__name__)
MANY, MANY_BYTES = 2000, 50_000_000  # Fewer pictures, of files that are smaller, take a second or two.


def decoded(pictures: Pictures, cache: Path | None, what: str) -> Decoded:
    """The pixels of ``pictures``, uint8 ``[N, C, size, size]``.

    Args:
        cache: a folder where they are kept, and taken from the next time (:mod:`cmidd.data.kept_pictures`); None, or
            few pictures: nothing is kept. Processes that want the same ones wait for one of them. Where the folder
            cannot be written to, one line says so.
        what: begins the name of the file.

    Raises:
        SettingError: for the first picture that cannot be read.
    """
    looked = look(pictures)
    if len(pictures) < MANY and sum(size for size, _ in looked) < MANY_BYTES:
        return pictures.decoded()
    processes = min(cpus(), MOST_PROCESSES)
    if cache is None:
        return decode(pictures, processes)[0]
    kept, made = KeptPictures(pictures, cache, what, looked), list[Decoded]()

    def make(_: list[int]) -> None:
        if (known := kept.recognise()) is not None:
            made.append(known)
            return
        if kept.flaw:
            log.warning("%s; the pictures are decoded anew", kept.flaw)
        found, digests = decode(pictures, processes)
        made.append(found)
        kept.write(found, digests)

    try:
        locks.make_missing([kept.index], make, lambda _: _read_into(made, kept))
    except OSError as error:  # The system's, from the lock or the file: pictures that cannot be read are no such error.
        log.warning("decoded pictures are not kept: %s", error)
    return made[-1] if made else decode(pictures, processes)[0]


def _read_into(made: list[Decoded], kept: KeptPictures) -> bool:
    """Whether the pixels are kept; they are then the last of ``made``."""
    if (found := kept.read()) is not None:
        made.append(found)
    return found is not None
