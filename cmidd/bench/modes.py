"""The engines that are measured, by name."""

from dataclasses import replace

import torch

from cmidd.compute.engine import Engine
from cmidd.utils.checking import choose

MODES: dict[str, Engine] = {
    "float32": Engine(),
    "float32 compiled": Engine(compile=True),
    "tf32": Engine("tf32"),
    "tf32 compiled": Engine("tf32", compile=True),
    "bf16": Engine("bf16"),
    "bf16 compiled": Engine("bf16", compile=True),
    "tf32 graphs": Engine("tf32", graphs=True),
    "tf32 compiled graphs": Engine("tf32", compile=True, graphs=True),
    "bf16 compiled graphs": Engine("bf16", compile=True, graphs=True),
}


def engine_of(mode: str, device: torch.device) -> Engine:
    """Of a mode, with as many networks at once as runs on the device have.

    Raises:
        SettingError: listing the modes that there are.
    """
    return replace(choose(MODES, mode, "mode"), at_once="auto" if device.type == "cuda" else 1)
