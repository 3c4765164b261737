"""What held before a recipe of training had a setting; imports no torch, for names are read before it is imported."""

from typing import Any

EARLIER: dict[str, Any] = {
    "loss": "hard",
    "temperature": 1.0,
    "hard_share": 0.0,
    "targets": "set",
    "hard_epochs": 0,
    "optimizer": "sgd",
    "rho": 0.01,
    "alpha": 0.3,
    "mixup": 0.0,
    "augment.patches": 1,
    "augment.smallest": 1.0,
}
"""With these values the settings are no part of a key or an identity, so that what was made before still counts."""
