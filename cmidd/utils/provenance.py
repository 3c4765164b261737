"""The origin of a record: device, versions and commit."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


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
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # No git here.
        return None
    return found.stdout.strip() or None
