"""Machines that are not Linux: nothing that Windows lacks is needed to import cmidd or to run it."""

import ast
import importlib
import os
import pkgutil
import signal
import sys

from tests.support.forked import as_main, forked
from tests.support.runs import ROOT, TINY, TINY_METHOD, result

ABSENT = ("fcntl", "grp", "pwd", "resource")  # modules of the standard library that Windows has not


class Blocked:
    """Finds none of the modules."""

    def find_spec(self, name, path=None, target=None):
        if name in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def as_on_windows(*words):
    """Import every module of cmidd, then distil; the libraries were imported before, as they are for this system."""
    import psutil  # noqa: F401

    sys.meta_path.insert(0, Blocked())
    for name in [*ABSENT, *(name for name in sys.modules if name.partition(".")[0] == "cmidd")]:
        sys.modules.pop(name, None)
    for name in ("SIGHUP", "SIGUSR1", "SIGUSR2"):
        delattr(signal, name)
    for name in ("fork", "getuid", "killpg", "sched_getaffinity"):
        delattr(os, name)
    sys.platform = "win32"
    import cmidd

    for module in pkgutil.walk_packages(cmidd.__path__, "cmidd."):
        importlib.import_module(module.name)
    as_main(ROOT / "scripts" / "distill.py", *words)


def test_every_module_is_imported_and_a_run_finished_without_what_windows_lacks(tmp_path):
    words = [*TINY_METHOD["dm"], "method.iterations=2", "evaluation.baselines=[]"]
    done = forked(as_on_windows, *TINY, *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (result(tmp_path, "dm", 0) / "DONE").exists()
    names = {part for path in tmp_path.rglob("*") for part in path.relative_to(tmp_path).parts}
    assert not [name for name in names if name[-1] in ". " or set(name) & set('<>:"\\|?*')]


NO_TEXT = ("files.write_text", "Image.open", "gzip.open")


def without_encoding(source):
    """The lines on which a text file is opened in the encoding of the machine."""
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name, given = ast.unparse(call.func), [ast.unparse(each) for each in [*call.args, *call.keywords]]
        opens = name.split(".")[-1] in ("open", "read_text") or name.endswith(".write_text")
        binary = {"'rb'", "'rb+'", "'wb'"} & set(given) or name in NO_TEXT
        if opens and not binary and not any(each.startswith("encoding=") for each in given):
            yield call.lineno


def test_text_files_have_the_same_encoding_on_every_machine():
    assert list(without_encoding("path.read_text()\nopen('a')\npath.open('w', newline='')")) == [1, 2, 3]
    sources = {path: path.read_text(encoding="utf-8") for path in (ROOT / "cmidd").rglob("*.py")}
    opening = [path for path, text in sources.items() if "open(" in text or "_text(" in text]
    assert not [(path, line) for path in opening for line in without_encoding(sources[path])]
