"""What torch.compile needs is looked for as torch and Triton look for it, before a run relies on it."""

import importlib.util
import re
import shutil
import sys
import sysconfig

import pytest

from cmidd.compute import compilers


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with these programs, with Python's header and Triton unless said otherwise."""

    def has(*programs, header=True, triton=True, platform="linux", **environment):
        monkeypatch.setattr(sys, "platform", platform)
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in programs else None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if triton else None)
        if header:
            (tmp_path / "Python.h").touch()
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        for name in ("CC", "CXX"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return has


@pytest.mark.parametrize(
    ("device", "programs", "how"),
    [
        ("cpu", ["g++"], {}),
        ("cpu", ["clang++"], {"platform": "darwin"}),
        ("cpu", ["cl"], {"platform": "win32"}),
        ("cpu", ["g++-12"], {"CXX": "g++-12 -v"}),
        ("cuda", ["gcc"], {}),
        ("cuda", ["clang"], {}),
        ("cuda", ["icx"], {"CC": "icx"}),
        ("cuda", [], {"platform": "win32"}),
    ],
)
def test_nothing_is_lacking_where_torch_finds_its_compiler(machine, device, programs, how):
    machine(*programs, **how)
    assert compilers.lacking(device) is None


@pytest.mark.parametrize(
    ("device", "programs", "how", "said"),
    [
        ("cpu", ["clang++"], {}, r"compiler \(g\+\+;"),
        ("cpu", ["g++"], {"platform": "win32"}, r"compiler \(cl; the build tools of Visual Studio\)"),
        ("cpu", ["g++"], {"CXX": "icpx"}, r"compiler \(icpx;"),
        ("cpu", ["g++"], {"header": False}, r"header Python\.h in .* \(apt-get install python3-dev\)"),
        ("cuda", ["g++", "cc"], {}, r"compiler \(gcc or clang;"),
        ("cuda", ["gcc"], {"triton": False}, r"triton \(pip install triton\)"),
        ("cuda", [], {"triton": False, "platform": "win32"}, r"triton \(pip install triton-windows\)"),
    ],
)
def test_what_is_lacking_is_named_with_the_way_to_get_it(machine, device, programs, how, said):
    machine(*programs, **how)
    assert re.match(said, compilers.lacking(device))
