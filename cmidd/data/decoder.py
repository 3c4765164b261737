"""A process that decodes pictures for another one: ``python -m cmidd.data.decoder``.

It is asked on its standard input, a line of JSON a time: first whose pictures (``root``, ``geometry``, ``setting``),
then lists of paths. It answers with a line of JSON and the pixels, and ends with its input, however its parent ended.
Torch is not imported: that takes ten times as long as all else at the start.
"""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from cmidd.data.image_files import Geometry, read_pixels
from cmidd.data.seen import Seen
from cmidd.utils.errors import SettingError

READY = b"ready\n"


def decode_some(
    paths: Sequence[Path], root: Path, geometry: Geometry, setting: str
) -> tuple[list[np.ndarray], list[str], Seen]:
    """The pixels of each picture, uint8 ``[C, size, size]``, the SHA-256 of each file, and what was seen.

    Raises:
        SettingError: for the first that :func:`cmidd.data.image_files.read_pixels` refuses.
    """
    pixels, digests, seen = [], [], []
    for path in paths:
        own, of_it = read_pixels(path, root, geometry, setting)
        try:
            digests.append(digest_of(path))
        except OSError as error:  # It was there a moment ago.
            raise SettingError(f"{setting}: cannot read {path}: {error.strerror}; repair or remove it") from error
        pixels.append(own)
        seen.append(of_it)
    return pixels, digests, Seen.together(seen)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent ends this process.
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(READY)
    answers.flush()
    whose = json.loads(asked.readline() or "null")
    if whose is None:
        return
    root, geometry = Path(whose["root"]), Geometry(**whose["geometry"])
    answer: dict[str, Any]
    for line in asked:
        try:
            pixels, digests, seen = decode_some([Path(p) for p in json.loads(line)], root, geometry, whose["setting"])
        except SettingError as error:
            pixels, answer = [], {"error": str(error)}
        else:
            answer = {"digests": digests, "seen": asdict(seen)}
        answers.write(json.dumps(answer).encode() + b"\n")
        for own in pixels:
            answers.write(own.data)
        answers.flush()


if __name__ == "__main__":
    try:
        main()
    except (BrokenPipeError, KeyboardInterrupt):  # The parent is gone, or going.
        os._exit(1)  # At once: Python would write what is left.
