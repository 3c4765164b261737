"""Machines that are not Linux: nothing that Windows lacks is needed to import cmidd or to run it."""

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
