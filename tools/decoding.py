"""Seconds and memory of reading folders of pictures: ``python tools/decoding.py FOLDER [BEFORE]``.

Makes 60,000 PNGs of 32 pixels and 13,000 JPEGs of 500 x 375 in FOLDER, where they are not there yet, and leaves them.
Prints a row for ``load_dataset`` of each with one and with two processes, at the first start and at the second, each in
a process of its own, imports not counted; BEFORE is a checkout of an earlier commit that is measured beside. Seconds of
CPUs are those of all processes; memory is the peak of the process itself with its libraries, and of the largest that
decodes for it.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parents[1]
SETS = {"60,000 PNGs, 32 pixels": ("png", 60_000, 32), "13,000 JPEGs, 500 to 128 pixels": ("jpg", 13_000, 128)}
CLASSES = 10


def main(folder: Path, before: Path | None) -> None:
    print("| | start | wall s | CPU s | MiB | MiB of one that decodes |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for title, (suffix, count, size) in SETS.items():
        root = folder / suffix
        if not root.exists():
            make(root, suffix, count)
        starts = [("before", before, "1", "")] if before else []
        for processes in ("1", "2"):
            cache = folder / f"cache_{suffix}_{processes}"
            shutil.rmtree(cache, ignore_errors=True)
            name = f"{processes} process{'es' if processes == '2' else ''}"
            starts += [
                (f"{name}, first", HERE, processes, str(cache)),
                (f"{name}, second", HERE, processes, str(cache)),
            ]
        for name, checkout, processes, cache_path in starts:
            words = [sys.executable, __file__, "--start", str(root), str(size), processes, cache_path]
            environment = {**os.environ, "PYTHONPATH": str(checkout)}
            ended = subprocess.run(words, capture_output=True, check=True, text=True, env=environment, cwd=checkout)
            wall, cpu, peak, other = json.loads(ended.stdout)
            print(f"| {title} | {name} | {wall:.1f} | {cpu:.1f} | {peak:.0f} | {other:.0f} |", flush=True)


def start(root: str, size: str, processes: str, cache: str) -> None:
    """One start, in this process; prints seconds, CPU seconds, MiB of this process and of its largest child."""
    import torch

    from cmidd.data import load

    given, others = {}, [0.0]
    if cache:
        from cmidd.data import decoders, decoding

        def end(decoder, sound=decoders._Decoder.end):
            others.append(peak_of(decoder.process.pid))
            sound(decoder)

        decoders._Decoder.end = end
        decoding.cpus = lambda: int(processes)
        given["cache"] = Path(cache)
    torch.set_num_threads(1)
    began, cpu = time.monotonic(), used()
    data = load.load_dataset("folder", root=root, size=int(size), **given)
    assert len(data.train) > len(data.test)
    print(json.dumps([time.monotonic() - began, used() - cpu, peak_of(os.getpid()), max(others)]))


def peak_of(process: int) -> float:
    """The most MiB that a process has had in memory."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def used() -> float:
    """CPU seconds of this process and of those that it started and that ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def make(root: Path, suffix: str, count: int) -> None:
    """Smooth random pictures with noise on them."""
    rng = np.random.default_rng(0)
    width, height = (32, 32) if suffix == "png" else (375, 500)
    for label in range(CLASSES):
        (root / f"class{label}").mkdir(parents=True)
    rough = rng.integers(-12, 13, (height, width, 3), dtype=np.int16)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        noisy = (smooth + np.roll(rough, number, axis=(0, 1))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(root / f"class{number % CLASSES}" / f"{number:06d}.{suffix}", quality=85)


if __name__ == "__main__":
    if sys.argv[1] == "--start":
        start(*sys.argv[2:])
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
