"""Pictures decoded by several processes at once."""

import contextlib
import hashlib
import json
import logging
import os
import queue
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
import torch

from cmidd.data.decoder import READY, decode_some
from cmidd.data.image_files import Pictures
from cmidd.data.seen import Seen
from cmidd.data.split import Decoded
from cmidd.utils.errors import SettingError
from cmidd.utils.progress import counted

log = logging.getLogger(__name__)
MOST_PROCESSES = 32  # of some 40 MB each
MOST_AT_ONCE, BYTES_AT_ONCE = 64, 4 * 2**20  # pictures that a process is asked for, and their pixels
Some = tuple[list[str], Seen]
"""Of some pictures: the digests of their files, and what was seen."""


def cpus() -> int:
    """How many CPUs this process may use: a container, or a job of a cluster, often has fewer than its machine."""
    import joblib  # When it is needed: its import takes a quarter of a second.

    return int(joblib.cpu_count())


def decode(pictures: Pictures, processes: int) -> tuple[Decoded, list[str]]:
    """All pictures, and the SHA-256 of each file; in this process where there is to be only one, or none starts.

    Raises:
        SettingError: for the first picture that cannot be read, or when a process was killed.
    """
    geometry = pictures.geometry
    pixels = np.empty((len(pictures), geometry.channels, geometry.size, geometry.size), np.uint8)
    size = max(1, min(MOST_AT_ONCE, BYTES_AT_ONCE // pixels[0].nbytes))
    starts = range(0, len(pictures), size)
    digests: list[str] = []
    seen: list[Seen] = []
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(counted("decoding pictures", total=len(pictures), unit="picture"))
        threads = stack.enter_context(ThreadPoolExecutor(processes))  # Left last: the processes are ended by then.
        decoders = stack.enter_context(_started(pictures, min(processes, len(starts))))
        idle: queue.SimpleQueue[_Decoder] = queue.SimpleQueue()
        for decoder in decoders:
            idle.put(decoder)

        def some(start: int) -> Some:
            part = slice(start, start + size)
            if not decoders:
                own, of_files, of_part = decode_some(pictures.paths[part], pictures.root, geometry, pictures.setting)
                pixels[part] = own
                return of_files, of_part
            decoder = idle.get()
            try:
                return decoder.decode(pictures.paths[part], pixels[part])
            finally:
                idle.put(decoder)

        every = threads.map(some, starts) if decoders else map(some, starts)
        if decoders:  # What nobody has begun is not begun when one fails, or the run is stopped.
            stack.callback(every.close)  # type: ignore[attr-defined]
        for of_part, seen_there in every:
            digests += of_part
            seen.append(seen_there)
            bar.update(len(of_part))
    return Decoded(torch.from_numpy(pixels), pictures.labels, Seen.together(seen)), digests


@contextlib.contextmanager
def _started(pictures: Pictures, count: int) -> Iterator[list["_Decoder"]]:
    """Processes that are ready, and are ended in the end; none where one would be alone, or not all can be had."""
    decoders: list[_Decoder] = []
    try:
        try:
            for _ in range(count if count > 1 and sys.executable else 0):
                decoders.append(_Decoder(pictures))
            ready = all(decoder.ready() for decoder in decoders)
        except OSError as error:
            log.debug("no process to decode in: %s", error)
            ready = False
        if not ready:
            log.info("decoding in this process alone: others do not start")
        yield decoders if ready else []
    finally:
        for decoder in decoders:
            decoder.end()


class _Decoder:
    """The other end of :mod:`cmidd.data.decoder`."""

    def __init__(self, pictures: Pictures) -> None:
        self.setting = pictures.setting
        above = str(Path(__file__).parents[2])  # Also where cmidd is found by other means than its installation.
        path = os.pathsep.join([above, *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cmidd.data.decoder"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.whose = {"root": str(pictures.root), "geometry": asdict(pictures.geometry), "setting": pictures.setting}

    def ready(self) -> bool:
        """Whether it has started; tells it whose pictures it is to decode."""
        asked, answers = self._pipes()
        if answers.readline() != READY:
            return False
        asked.write(json.dumps(self.whose).encode() + b"\n")
        return True

    def decode(self, paths: Sequence[Path], pixels: np.ndarray) -> Some:
        """Have pictures decoded into ``pixels``, uint8 ``[N, C, size, size]``."""
        asked, answers = self._pipes()
        try:
            asked.write(json.dumps([str(path) for path in paths]).encode() + b"\n")
            asked.flush()
            answer = json.loads(answers.readline())
            rest = pixels.data.cast("B") if "error" not in answer else memoryview(b"")
            while rest:
                if not (count := answers.readinto(rest)):  # type: ignore[attr-defined]
                    raise EOFError
                rest = rest[count:]
        except (OSError, ValueError, EOFError) as error:
            raise SettingError(
                f"{self.setting}: a process that decoded pictures ended (exit code {self._code()}) between {paths[0]} "
                f"and {paths[-1]}; start again, with more memory or smaller files if it was killed for that"
            ) from error
        if "error" in answer:
            raise SettingError(answer["error"])
        return answer["digests"], Seen.of(answer["seen"])

    def end(self) -> None:
        """End it at once: nothing of it is needed any more."""
        self.process.kill()
        self.process.wait()
        for pipe in self._pipes():
            with contextlib.suppress(OSError):  # What it was asked, and never read.
                pipe.close()

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self.process.stdin is not None and self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def _code(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(1)
        return None


def together(digests: Sequence[str]) -> str:
    """Names the content of files, in their order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:24]
