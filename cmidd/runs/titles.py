"""Titles of runs, as pictures, figures and the page have them."""

from collections.abc import Mapping
from typing import Any

from cmidd.data.published import title_of
from cmidd.runs.identity import BASELINE, dataset_name, setting_of, strength, system


def in_images(ipc: int) -> str:
    """A number of images per class, in words."""
    return f"{ipc} image{'' if ipc == 1 else 's'} per class"


def setting_title(dataset: str, ipc: int) -> str:
    """What methods are compared on: ``CIFAR10, 10 images per class``."""
    return f"{title_of(dataset)}, {in_images(ipc)}"


def method_title(system: str, strength: str) -> str:
    """A method with its plug-ins and CMI: ``DM``, ``DM + CMI (weight 8000)``, ``IDM+IID + CMI (ratio 0.3)``."""
    if strength == BASELINE:
        return system.upper()
    setting, value = setting_of(strength)
    return f"{system.upper()} + CMI ({'weight' if setting == 'lambda' else 'ratio'} {value})"


def set_title(identity: Mapping[str, Any], iteration: int) -> str:
    """What the set of a run is: ``DM on CIFAR10, 10 images per class, seed 0, after iteration 20000``."""
    on = setting_title(dataset_name(identity), identity["ipc"])
    name = method_title(system(identity), strength(identity["cmi"]))
    return f"{name} on {on}, seed {identity['seed']}, after iteration {iteration}"
