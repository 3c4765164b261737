"""What a refusal of bad input must be, and a count of the distinct ones that were tried."""

import contextlib
import copy
import io
import json
import logging
import os
import re
import runpy
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError

ROOT = Path(__file__).parents[2]
WAY_OUT = re.compile(
    r"join some|\badd\b|choose|\bgive\b|\buse\b|\bset it\b|should|expected|known:|remove|leave|move|make it|make them|"
    r"repair|check|"
    r"instead|apt-get|put |rename|finite number|See https|run it again|distil it again|save it|start the run"
)
WATCHED: list[Path] = []
"""The folder of the test that is running, where it has one (``tests/conftest.py``)."""
COMPARED = 0  # how many trees were compared before and after a refusal
TRIED: dict[str, set[str]] = defaultdict(set)


def refused(kind, key, call, *names):
    """Call something with bad input; the error is one line that holds ``names`` and says what to do.

    It leaves the test's own folder, where it has one, as it was.
    """
    before = WATCHED and tree_of(WATCHED[-1])
    with pytest.raises(SettingError) as error:
        call()
    same_tree(before, WATCHED and tree_of(WATCHED[-1]))
    return acceptable(kind, key, str(error.value), *names)


def acceptable(kind, key, message, *names):
    assert len(message.splitlines()) == 1, message
    assert len(message) < 1500, message
    for name in names:
        assert str(name) in message, (name, message)
    assert WAY_OUT.search(message), message
    TRIED[kind].add(repr(key))
    return message


def bytes_of(folder):
    """Every file below a folder with its content, without locks."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock"}


def tree_of(folder):
    """Every file with its bytes, every link and every folder below a folder, locks and empty folders too."""
    kinds = {path: "link" if path.is_symlink() else "folder" for path in sorted(folder.rglob("*"))}
    return {path: path.read_bytes() if path.is_file() else kind for path, kind in kinds.items()}


def same_tree(before, after):
    """Fails with the names of what was left, lost or changed."""
    global COMPARED
    COMPARED += bool(before)
    assert before == after, [str(path) for path in before | after if before.get(path) != after.get(path)]


def script(name, *words, cwd, folder="scripts"):
    """Run ``<folder>/<name>.py`` in this process; returns its exit code and what it wrote to both streams."""
    out, err = io.StringIO(), io.StringIO()
    root, level = logging.getLogger(), logging.getLogger().level
    handlers = root.handlers[:]
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.chdir(cwd)
        patch.delenv("HYDRA_FULL_ERROR", raising=False)
        patch.setattr(sys, "argv", [str(ROOT / folder / f"{name}.py"), *words])
        code = 0
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as stop:
            code = stop.code
        finally:
            os.environ.pop("HYDRA_FULL_ERROR", None)
            root.handlers[:], root.level = handlers, level
    return code, out.getvalue(), err.getvalue()


def script_refused(kind, name, words, cwd, *names):
    """A script ends with code 2 and one line, and leaves the folder as it was."""
    before = tree_of(cwd)
    code, _, err = script(name, *words, cwd=cwd)
    assert code == 2, (code, err)
    assert "Traceback" not in err
    same_tree(before, tree_of(cwd))
    last = err.strip().splitlines()[-1]
    return acceptable(kind, (name, *words), last, *names)


def at(config, name):
    """The value of a dotted name."""
    for key in name.split("."):
        config = config[key]
    return config


def changed(config, name, value):
    """A copy of nested settings with one value changed."""
    config = copy.deepcopy(config)
    *above, last = name.split(".")
    holder = at(config, ".".join(above)) if above else config
    holder[last] = value
    return config


def leaves(config, name=""):
    """Dotted names of all values that are no dictionaries."""
    for key, value in config.items():
        below = f"{name}.{key}" if name else str(key)
        if isinstance(value, dict) and value:
            yield from leaves(value, below)
        else:
            yield below


DEEP = "[" * 100_000 + "]" * 100_000
NOT_JSON = {
    "empty": "",
    "cut short": '{"a": 1',
    "NaN": "NaN",
    "deep": DEEP,
    "a long number": '{"a": ' + "9" * 5000 + "}",
    "a list": "[]",
    "null": "null",
    "text": '"text"',
    "latin-1": b'{"a": "\xe9"}',
    "binary": b"\x80\x04\x95",
}


def damage(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def without(name):
    """A change to the tensors and the header of a safetensors file: one of either is missing."""
    return lambda tensors, about: (tensors.pop(name, None), about.pop(name, None))


def put(name, value):
    """A change to the tensors or the header of a safetensors file."""
    return lambda tensors, about: (tensors if isinstance(value, torch.Tensor) else about).update({name: value})


def edited(change):
    """What makes such a change to a file."""

    def edit(path):
        tensors, about = tensor_files.read_tensors(path)
        change(tensors, about)
        save_file(tensors, path, metadata={"about": json.dumps(about)})

    return edit


def mostly_heavy(cases, keep):
    """Parameters of a test, all but every ``keep``-th of them heavy."""
    return [
        pytest.param(*case, marks=[] if number % keep == 0 else pytest.mark.heavy) for number, case in enumerate(cases)
    ]
