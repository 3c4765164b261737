"""Settings as they are given in Python, as the words of a command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cmidd.cli.words import PLAIN, quoted


def as_words(settings: Mapping[str, Any], above: str = "") -> list[str]:
    """Settings as the words of a command line; a group's ``name`` is what is chosen in it."""
    words: list[str] = []
    for key, value in settings.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            if not above and "name" in value:
                words.append(f"{name}={_text(value['name'])}")
                value = {each: below for each, below in value.items() if each != "name"}
            words += as_words(value, f"{name}.")
        else:
            words.append(f"{name}={_text(value)}")
    return words


def _text(value: Any) -> str:
    """A value in Hydra's grammar; numbers and arrays of numpy and torch as Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, str | Path | torch.device):
        return str(value) if PLAIN.fullmatch(str(value)) else quoted(str(value))
    if isinstance(value, Sequence):
        return "[" + ",".join(map(_text, value)) + "]"
    return repr(value)
