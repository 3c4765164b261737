"""What the weights of CMI and of the other regularisers come to."""

from collections.abc import Mapping
from typing import Any

from cmidd.checking import checked, mapping, shown
from cmidd.errors import SettingError
from cmidd.regularizers import REGULARIZERS


def weight(value: Any, name: str, otherwise: str) -> float:
    """A weight as given.

    Raises:
        SettingError: when it is no finite number >= 0; ``otherwise`` says what could be given as well.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise SettingError(f"{name}.lambda={shown(value)}: expected a number >= 0, {otherwise}")
    return float(value)


def cmi_weight(
    value: Any,
    fallback: str | None,
    published: Mapping[int, float] | None,
    own: float | None,
    method: str,
    dataset: str,
    ipc: int,
) -> float:
    """The weight of CMI: a number, the published one for ``paper``, the published one or else the recipe's ``own``
    for ``recipe``, or 0 (the baseline) for null.
    """
    value, published = fallback if value is None else value, published or {}
    if value is None:
        return 0.0
    if value == "paper":
        if ipc not in published:
            raise SettingError(
                f"cmi=paper: no weight is published for method={method} dataset={dataset} ipc={ipc}; "
                "give a number instead, e.g. cmi.lambda=0.1"
            )
        value = published[ipc]
    if value == "recipe":
        value = published.get(ipc, own)
        if value is None:
            raise SettingError(
                f"cmi=recipe: configs/recipe/{method}_{dataset}.yaml has neither a published nor an own weight for "
                f"ipc={ipc}; give a number instead, e.g. cmi.lambda=0.1"
            )
    return weight(value, "cmi", "null (baseline), paper or recipe")


def take_regularizers(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Take the settings of the chosen regularisers out of a config; ``lambda`` becomes their ``weight``."""
    chosen = {}
    for name, kind in REGULARIZERS.items():
        if name not in config:
            continue
        given = mapping(config.pop(name), name)
        if "default" not in given:
            raise SettingError(f"{name}: not among the regularisers of this run; add regularizer={name}")
        value, default = given.pop("lambda", None), given.pop("default")
        own = weight(default if value is None else value, name, f"or null for {default}")
        chosen[name] = {"weight": own, **checked(kind, given, name)}
    return chosen
