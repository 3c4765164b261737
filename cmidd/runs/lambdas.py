"""The weights, or ratios, of CMI and of the other regularisers."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from cmidd.loop.balance import Ratio
from cmidd.regularizers import REGULARIZERS
from cmidd.runs.settings import Settings
from cmidd.runs.strengths import strength_by_ratio, weight
from cmidd.utils.checking import checked, mapping
from cmidd.utils.errors import SettingError


def cmi_strength(
    value: Any,
    ratio: Any,
    fallback: str | None,
    published: Mapping[int, float] | None,
    own: float | Ratio | None,
    method: str,
    dataset: str,
    ipc: int,
    alone: bool,
) -> dict[str, Any]:
    """The ``weight`` of CMI: a number, the published one for ``paper``, the published one or else the recipe's ``own``
    for ``recipe``, or 0 (the baseline) for null; or its ``ratio``, if that is given or is the recipe's own.

    Args:
        alone: whether a class has one training image, where CMI is zero and nothing can be measured.
    """
    if ratio is not None:
        return strength_by_ratio(value, ratio, "cmi")
    value, published = fallback if value is None else value, published or {}
    if value is None:
        return {"weight": 0.0}
    if value == "paper":
        if ipc not in published:
            raise SettingError(
                f"cmi=paper: no weight is published for method={method} dataset={dataset} ipc={ipc}; "
                "use cmi=balanced, or give a number, e.g. cmi.lambda=0.1"
            )
        value = published[ipc]
    if value == "recipe":
        value = published.get(ipc, own)
        if value is None:
            raise SettingError(
                f"cmi=recipe: configs/recipe/{method}_{dataset}.yaml has neither a published nor an own weight for "
                f"ipc={ipc}; use cmi=balanced, or give a number, e.g. cmi.lambda=0.1"
            )
        if isinstance(value, Ratio):
            if not alone:
                return strength_by_ratio(None, value.ratio, "cmi")
            value = 1.0  # Any: as with published weights this is the baseline, and the run says so.
    return {"weight": weight(value, "cmi")}


def take_regularizers(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take the settings of the chosen regularisers out of a config; ``lambda`` becomes their ``weight``, unless there
    is a ``ratio``.
    """
    chosen = {}
    for name in [name for name in REGULARIZERS if name != "cmi" and name in config]:
        if name in {field.name for field in fields(Settings)}:
            raise SettingError(f"regularizer={name}: every run has a setting of that name; rename the plug-in")
        kind = REGULARIZERS[name]
        if (said := getattr(kind, "name", None)) != name:
            raise SettingError(f"regularizer={name}: {kind.__name__}.name is {said!r}; give the class name = {name!r}")
        given = mapping(config.pop(name), name)
        if "default" not in given:
            raise SettingError(f"{name}: not among the regularisers of this run; add regularizer={name}")
        value, ratio, default = given.pop("lambda", None), given.pop("ratio", None), given.pop("default")
        default = kind.default_weight if default is None else default
        if ratio is not None:
            own = strength_by_ratio(value, ratio, name)
        else:
            own = {"weight": weight(default if value is None else value, name, f"or null for {default}")}
        chosen[name] = {**own, **checked(kind, given, name)}
    return chosen
