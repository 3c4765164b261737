"""Plug-ins without a file in ``configs/``, told to Hydra by their names; none is imported."""

import contextlib
from collections.abc import Iterator
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from cmidd.cli.configs import CONFIGS, ROOMS
from cmidd.utils.plugins import names

# What others refer to of a data set that has no file in configs/dataset: DSA's strategy, and CMI's teacher.
DATASET = {"augment": "color_crop_cutout_flip_scale_rotate", "teacher": "convnet"}

_told: list[tuple[str, str]] = []


@contextlib.contextmanager
def plugins_known(known: bool) -> Iterator[None]:
    """For a block Hydra knows the plug-ins, as settings of runs need it, or does not: ``method`` and ``dataset`` are
    ordinary settings of ``cmidd figures``, and groups that it does not have where one of them was told.
    """
    begin, end = (tell_plugins, forget_plugins) if known else (forget_plugins, tell_plugins)
    begin()
    try:
        yield
    finally:
        end()


def forget_plugins() -> None:
    """Undo :func:`tell_plugins`."""
    repo = ConfigStore.instance().repo
    while _told:
        group, name = _told.pop()
        repo.get(group, {}).pop(f"{name}.yaml", None)
        if not repo.get(group, True):
            del repo[group]


def tell_plugins() -> None:
    """Have Hydra know every plug-in by its name; none is imported."""
    for group, room in ROOMS.items():
        for name in names(*room):
            if group == "regularizer":
                own = {"lambda": None, "ratio": None, "default": None}
                _store(group, name, {name: OmegaConf.create(own, flags={"struct": False})}, "_global_")
            else:
                _store(group, name, {"name": name, **(DATASET if group == "dataset" else {})})
    for name in names(*ROOMS["method"]):
        _store("evaluation", name, {"defaults": ["default", "_self_"]})


def _store(group: str, name: str, node: dict[str, Any], package: str | None = None) -> None:
    """Register a plug-in that has no file in ``configs/``; any setting may be given, and is checked by its class."""
    if not (CONFIGS / group / f"{name}.yaml").exists():
        config = OmegaConf.create(node, flags=None if package else {"struct": False})
        ConfigStore.instance().store(name, config, group, package)
        _told.append((group, name))
