"""The compilers and headers that torch.compile needs on this machine, looked for before it is asked to compile."""

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path


def lacking(device_type: str) -> str | None:
    """What torch.compile lacks here for a device of this type, with the way to get it; None where nothing.

    Its CPU code is C++; on CUDA Triton makes the kernels, and a launcher in C. Both include Python's header; each takes
    the compiler of CXX or CC where that is set, and looks for these names otherwise.
    """
    cuda, windows = device_type == "cuda", sys.platform == "win32"
    if cuda and importlib.util.find_spec("triton") is None:
        return f"triton ({'pip install triton-windows' if windows else 'pip install triton'})"
    if cuda and windows:
        return None  # Triton brings a compiler of its own there.
    names = [named] if (named := os.environ.get("CC" if cuda else "CXX")) else _names(cuda, windows)
    if not any(shutil.which(name.split()[0]) for name in names):
        way = "the build tools of Visual Studio" if windows else "apt-get install g++"
        return f"compiler ({' or '.join(names)}; {way})"
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").exists():
        return f"header Python.h in {include} (apt-get install python3-dev)"
    return None


def _names(cuda: bool, windows: bool) -> list[str]:
    if cuda:
        return ["gcc", "clang"]
    return ["cl"] if windows else ["clang++"] if sys.platform == "darwin" else ["g++"]
