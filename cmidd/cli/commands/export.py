"""Write a set as PNGs, labels.csv and synthetic.json: ``python scripts/export.py RUN FOLDER``.

RUN is a run's folder, its synthetic.safetensors, or a folder that this script wrote. What takes a RUN takes FOLDER.
"""

import argparse
import logging
from pathlib import Path

from cmidd.synthetic.exported import export
from cmidd.synthetic.load import load_synthetic
from cmidd.utils.errors import one_line_errors


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        export(load_synthetic(given.synthetic), given.folder)
