"""What every record says about how it came about, and how accuracies are written."""

import os
import platform
import statistics
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def provenance(device: torch.device) -> dict[str, Any]:
    """Device, versions of Python and of the libraries, and the commit of this code."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({os.cpu_count()} cores)"
    return {
        "device": name,
        "versions": {name: version(name) for name in ("torch", "torchvision", "numpy", "scikit-learn", "safetensors")},
        "python": platform.python_version(),
        "commit": _commit(),
    }


def summary(values: list[float]) -> str:
    """Mean and sample standard deviation with their n."""
    spread = f" +- {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread} (n={len(values)})"


def plain(text: str) -> str:
    """Text that Markdown shows as it is: it opens no element, no code and no other cell."""
    return " ".join("".join(f"&#{ord(sign)};" if sign in "<>&|`[]*" else sign for sign in text).split())


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested ``settings`` with ``changes``."""
    new = dict(settings)
    for name, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(new.get(name), Mapping)
        new[name] = merged(new[name], value) if nested else value
    return new


def differences(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Where two nested settings differ: the dotted name, the old and the new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        below = [differences(old.get(k), new.get(k), f"{name}.{k}" if name else k) for k in keys]
        return [difference for some in below for difference in some]
    return [] if old == new else [(name, old, new)]


PLAIN = {"sampler": "random", "schedule": "whole"}
"""The plug-ins that every method has by itself."""


BASELINE = "0"
"""The :func:`strength` of CMI in a run without it."""


def strength(cmi: Mapping[str, Any]) -> str:
    """How much of CMI there is, as folders and tables name it: a weight (``8000``), or a ratio (``balanced0.3``)."""
    ratio = cmi.get("ratio")
    return f"{cmi['weight']:.10g}" if ratio is None else f"balanced{ratio:.10g}"


def system(settings: Mapping[str, Any]) -> str:
    """The method with what was added to it, as folders and tables name it: ``idm``, ``idm+iid``, ``idc+dream+pdd``."""
    others = [settings.get(kind, {}).get("name", plain) for kind, plain in PLAIN.items()]
    added = [*sorted(settings.get("regularizers", {})), *(name for name in others if name not in PLAIN.values())]
    return "+".join([settings["method"]["name"], *added])
