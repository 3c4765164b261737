"""Safetensors files that are whole or absent, with JSON in their header."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from cmidd.utils import files
from cmidd.utils.errors import SettingError
from cmidd.utils.files import parsed


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write a safetensors file whole or not at all; ``about`` (JSON) travels in its header."""
    on_cpu = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    with files.atomic_write(path, sum(tensor.nbytes for tensor in on_cpu.values())) as beside:
        try:
            save_file(on_cpu, beside, metadata={"about": json.dumps(about)})
        except SafetensorError as error:  # The system's error, as text.
            raise OSError(0, str(error), str(path)) from error


def read_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors (on the CPU) and ``about`` of a file made by :func:`write_tensors`.

    Raises:
        SettingError: when it is damaged.
    """
    with opened(path) as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if sys.platform == "win32":  # Where a file that tensors are mapped to cannot be replaced, as checkpoints are.
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        return tensors, about_of(file, path)


def read_shapes(path: Path) -> tuple[dict[str, list[int]], dict[str, Any]]:
    """The shapes of a file's tensors, which are not read, and its ``about``.

    Raises:
        SettingError: when it is damaged.
    """
    with opened(path) as file:
        shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return shapes, about_of(file, path)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A file made by :func:`write_tensors`, to read slices of its tensors.

    Raises:
        SettingError: when it is not there, or damaged.
        PermissionError: when it may not be read.
    """
    if not path.is_file():
        raise SettingError(f"{path}: no such file; make it again")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:  # What safetensors calls a file that may not be read, too.
        path.open("rb").close()
        raise
    except (SafetensorError, AttributeError, TypeError) as error:  # The last two: a type that torch does not have.
        raise SettingError(
            f"{path}: damaged or not a safetensors file ({error}); move it away, or make it again"
        ) from error


def about_of(file: Any, path: Path) -> dict[str, Any]:
    """What its header says of an :func:`opened` file."""
    about = parsed((file.metadata() or {}).get("about", "{}"), path)
    if not isinstance(about, dict):
        raise SettingError(f"{path}: its header says {str(about)[:40]!r} instead of how it was made; make it again")
    return about
