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


EXPERTS_LENGTH = "method.experts.training.epochs"


def without_effect(settings: Any) -> list[str]:
    """The settings among those of a run that do not change what it computes: which baselines are measured beside, the
    length of experts whose learning rate does not depend on it, and a ``dtype`` that older records do not name.
    """
    names = ["evaluation.baselines"]
    if (_at(settings, "method.experts.training.schedule") or "constant") == "constant":
        names.append(EXPERTS_LENGTH)
    if _at(settings, "method.experts.dtype") == "float32":
        names.append("method.experts.dtype")
    return names


def comparable(settings: Any) -> Any:
    """The settings of a run without those of :func:`without_effect`."""
    method, overrides = _at(settings, "method"), _at(settings, "schedule.overrides")
    for name in without_effect(settings):
        settings = _without(settings, name)
    if not isinstance(overrides, list | tuple) or not isinstance(method, dict):
        return settings
    in_stages = []
    for override in overrides:
        whole = {"method": merged(method, override) if isinstance(override, dict) else {}}
        ignored = EXPERTS_LENGTH in without_effect(whole)
        in_stages.append(_without(override, EXPERTS_LENGTH.removeprefix("method.")) if ignored else override)
    return {**settings, "schedule": {**settings["schedule"], "overrides": in_stages}}


def _at(settings: Any, name: str) -> Any:
    """What stands under a dotted name; None where there is nothing."""
    for key in name.split("."):
        settings = settings.get(key) if isinstance(settings, dict) else None
    return settings


def _without(settings: Any, name: str) -> Any:
    """Nested settings without the one of a dotted name, and without what is empty then."""
    key, _, rest = name.partition(".")
    if not isinstance(settings, dict) or key not in settings:
        return settings
    below = _without(settings[key], rest) if rest else {}
    others = {other: value for other, value in settings.items() if other != key}
    return others if below == {} else {**settings, key: below}


EARLIER: dict[str, Any] = {
    "balance_steps": 10,
    "cmi.input": "preprocessed",
    "cmi.ratio": None,
    "cmi.teachers": None,
    "evaluation.optimizer": "fresh",
    "method.distinct": False,
    "regularizers.iid.teacher_weight_decay": 1e-3,
    "sampler.rounds": 20,
}
"""What held before there was a setting. With this value it is no part of a run's identity, so that what was made before
goes on, loads and counts; with another, what was made before is refused by the setting's name.
"""


def identity_differences(old: Any, new: Any) -> list[tuple[str, Any, Any]]:
    """:func:`differences` of the identities of two runs in what they compute, each with what held where it says
    nothing; none for runs of which one may go on as the other, and which share a cell but for their seeds.
    """

    def said(name: str, value: Any) -> Any:
        return EARLIER.get(name) if value is None else value

    return [
        (name, said(name, one), said(name, other)) for name, one, other in differences(comparable(old), comparable(new))
    ]


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


def dataset_name(settings: Mapping[str, Any]) -> str:
    """The data set of an identity, as tables name it: ``cifar10``; a file of arrays is ``arrays_<file>``."""
    name: str = settings["dataset"]["name"]
    return f"arrays_{settings['data']['file']}" if name == "arrays" else name
