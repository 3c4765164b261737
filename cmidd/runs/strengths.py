"""The weight or the ratio of a term of the loss, as it is given: checked without torch."""

from typing import Any

from cmidd.utils.checking import shown
from cmidd.utils.errors import SettingError

OF_CMI = "null (baseline), paper or recipe, or cmi.ratio instead"


def weight(value: Any, name: str, otherwise: str = OF_CMI) -> float:
    """A weight as given.

    Raises:
        SettingError: when it is no finite number >= 0; ``otherwise`` says what could be given as well.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise SettingError(f"{name}.lambda={shown(value)}: expected a number >= 0, {otherwise}")
    return float(value)


def strength_by_ratio(value: Any, ratio: Any, name: str) -> dict[str, Any]:
    """The settings of a term whose weight is measured.

    Raises:
        SettingError: when there is a weight (``value``) as well, or the ratio is no finite number > 0.
    """
    if value is not None:
        raise SettingError(
            f"{name}.lambda={shown(value)}, {name}.ratio={shown(ratio)}: lambda gives the weight, ratio has it "
            "measured; leave one of them out"
        )
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < float("inf"):
        raise SettingError(f"{name}.ratio={shown(ratio)}: expected a number > 0, or null for a given weight")
    return {"weight": None, "ratio": float(ratio)}
