"""NumPy's ``.npz`` files of anybody: opened up to a size, and nothing in them is unpickled."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from cmidd.data.split import MOST_BYTES

# What opening one and reading its arrays raises, where it is damaged or unpacks to too much.
UNREADABLE = (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, MemoryError)


@contextmanager
def opened_npz(path: Path) -> Iterator[NpzFile]:
    """The arrays of a file by their names, each read when it is asked for.

    Raises:
        ValueError: when one unpacks to more than :data:`cmidd.data.split.MOST_BYTES`; and others of :data:`UNREADABLE`.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.file_size > MOST_BYTES:
                raise ValueError(f"{member.filename} unpacks to {member.file_size} bytes, at most {MOST_BYTES}")
    with np.load(path, allow_pickle=False) as file:
        yield file
