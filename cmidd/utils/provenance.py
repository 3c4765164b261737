"""The origin of a record: device, versions and commit."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from cmidd.utils.plugins import PACKAGE


def provenance(device: torch.device) -> dict[str, Any]:
    """Device, versions of Python and of the libraries, and the commit of this code."""
    return {
        "device": _name(device),
        "versions": {name: version(name) for name in ("torch", "torchvision", "numpy", "scikit-learn", "safetensors")},
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"mps ({platform.machine()}, macOS {platform.mac_ver()[0]})"
    return f"cpu ({os.cpu_count()} cores)"


def _commit() -> str | None:
    command = ["git", "-C", str(PACKAGE), "rev-parse", "HEAD", "--show-toplevel"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except FileNotFoundError:  # No git here.
        return None
    # Where the package is installed, the repository above it is another project's.
    return found[0] if len(found) == 2 and Path(found[1]).resolve() == PACKAGE.resolve().parent else None
