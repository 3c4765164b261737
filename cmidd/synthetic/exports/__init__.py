"""Synthetic sets of ours in the formats of others, so that their code reads them."""

import dataclasses
import difflib
from collections.abc import Callable
from pathlib import Path

from cmidd.synthetic import exported
from cmidd.synthetic.exports import dc, idc, mtt, parquet
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.checking import shown
from cmidd.utils.errors import SettingError

__all__ = ["FORMATS", "refuse_unknown", "write"]

FORMATS: dict[str, Callable[[SyntheticSet, Path], None]] = {
    "png": exported.export,
    "mtt": mtt.write,
    "dc": dc.write,
    "idc": idc.write,
    "parquet": parquet.write,
}


def write(synthetic: SyntheticSet, folder: Path, format: str = "png", *, hard: bool = False) -> None:
    """Write a set into a new folder, whole or not at all.

    Args:
        format: one of :data:`FORMATS`; only ``png`` holds all that a set has
            (:func:`cmidd.synthetic.exported.export`).
        hard: leave soft labels out.

    Raises:
        SettingError: when the folder exists and is not empty, or the format cannot hold the set, with the reason.
    """
    refuse_unknown(format)
    if hard:
        finished = [dataclasses.replace(stage, soft_labels=None) for stage in synthetic.finished]
        synthetic = dataclasses.replace(synthetic, soft_labels=None, finished=finished)
    FORMATS[format](synthetic, folder)


def refuse_unknown(format: str) -> None:
    """Refuse a format that is none of :data:`FORMATS`.

    Raises:
        SettingError: with the near one, and all there are.
    """
    if format not in FORMATS:
        close = difflib.get_close_matches(format, FORMATS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise SettingError(f"format={shown(format)}: unknown; {hint}choose one of {', '.join(FORMATS)}")
