"""The commands and blocks of Python on the pages, and a folder in which they run."""

import contextlib
import io
import logging
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cmidd.cli.main import main
from tests.support.data_files import images
from tests.support.refusals import ROOT
from tests.support.runs import run_here

PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")],
    key=lambda path: (path.name != "index.md", path),
)
ELSEWHERE = {"extending.md"}  # tests/behaviour/test_extending.py writes and runs all of its blocks.
RUN = "results/digits/mtt/ipc10/cmi0.1/seed0"
SET_UP = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e"
FIRST = f"{SET_UP} . && .venv/bin/python scripts/distill.py method=mtt +cmi.lambda=0.1"
TESTS = f"{SET_UP} '.[test]' && .venv/bin/python -m pytest -q -n auto --dist loadfile"


def blocks(kind: str) -> dict[str, list[str]]:
    """The blocks of a kind by the name of their page."""
    texts = {path.name: path.read_text() for path in PAGES if path.name not in ELSEWHERE}
    found = {
        name: re.findall(rf"^```{kind}\n(.*?)^```", text, re.DOTALL | re.MULTILINE) for name, text in texts.items()
    }
    return {name: some for name, some in found.items() if some}


def commands() -> list[str]:
    """Every line of the blocks of bash once, without its comment."""
    lines = [line for page in blocks("bash").values() for block in page for line in block.splitlines()]
    return list(dict.fromkeys(re.sub(r"\s+# .*", "", line).strip() for line in lines))


def words_of(line: str) -> tuple[str, list[str]]:
    """The command of a line, and its words, for ``cmidd <command>`` and for ``python scripts/<command>.py``."""
    first, second, *words = shlex.split(line)
    if first != "cmidd":
        assert (first, second[:8], second[-3:]) == ("python", "scripts/", ".py"), line
        second = second[8:-3]
    return second, words


def command(*words: str, cwd: Path) -> tuple[int, str, str]:
    """Run ``cmidd <words>`` in this process; its exit code and what it wrote to both streams."""
    out, err, root = io.StringIO(), io.StringIO(), logging.getLogger()
    handlers, level, code = root.handlers[:], root.level, 0
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(cwd)
        patch.setenv("HYDRA_FULL_ERROR", "0")
        patch.setattr(sys, "argv", ["cmidd", *words])
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        finally:
            root.handlers[:], root.level = handlers, level
    return code, out.getvalue(), err.getvalue()


def stand_ins(folder: Path) -> None:
    """What the pages speak of, tiny: CIFAR10 in a file of arrays, flowers, another's arrays and set, kept sets."""
    random = np.random.default_rng(0)
    arrays(random, folder / "data" / "cifar10.npz", classes=10, each=12, shape=(32, 32, 3))
    arrays(random, folder / "pathmnist.npz", classes=3, each=6, shape=(28, 28, 3))
    images(folder / "flowers", ("rose", "tulip"), count=8, size=(70, 64))
    torch.save(torch.randn(20, 3, 32, 32), folder / "images_best.pt")
    torch.save(torch.arange(10).repeat_interleave(2), folder / "labels_best.pt")
    kept = folder / "results" / "evidence"
    kept.mkdir(parents=True)
    for path in (ROOT / "results" / "evidence").glob("cifar10_dm_ipc10_cmi*_seed0.*"):
        (kept / path.name).write_bytes(path.read_bytes())
    run_here(folder / "results", "mtt", "cmi.lambda=0.1", "evaluation.repeats=1")


def arrays(random: np.random.Generator, path: Path, *, classes: int, each: int, shape: tuple[int, ...]) -> None:
    """Random images in a file of arrays."""
    path.parent.mkdir(exist_ok=True)
    labels = np.arange(classes * each) % classes
    pixels = random.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    tested = slice(2 * classes)
    test = {"test_images": pixels[tested], "test_labels": labels[tested]}
    np.savez(path, train_images=pixels, train_labels=labels, **test)


def grown(tree: str, folder: Path) -> list[Path]:
    """Makes the files of a drawn tree: two blanks for each level, ``<name>/`` is a folder, ``<name>: <words>`` a table
    of two columns; returns them all, the top first.
    """
    above, made = [folder], []
    for line in tree.splitlines():
        name, _, words = line.strip().partition(": ")
        depth = (len(line) - len(line.lstrip())) // 2
        path = above[depth] / name.rstrip("/")
        made.append(path)
        if name.endswith("/"):
            path.mkdir()
            above[depth + 1 :] = [path]
        else:
            pairs = words.split()
            path.write_text("".join(f"{a}\t{b}\t0\t0\n" for a, b in zip(pairs[::2], pairs[1::2], strict=True)))
    return made
