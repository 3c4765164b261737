"""The tables of published accuracies in ``configs/command/table``, all at once."""

from collections.abc import Iterator
from typing import Any

from omegaconf import OmegaConf

from cmidd.analysis.tables.table import Column, Row, read_layout
from cmidd.cli.configs import tables


def published_layouts() -> Iterator[tuple[tuple[Column, ...], tuple[Row, ...]]]:
    """The layout of every table that has columns of data sets, the paper's first."""
    for path in tables():
        layout: Any = OmegaConf.to_container(OmegaConf.load(path))
        if "columns" in layout:
            yield read_layout(layout)
