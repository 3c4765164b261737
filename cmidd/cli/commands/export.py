"""Write a synthetic set as PNGs and labels.csv: ``python scripts/export.py RUN/synthetic.safetensors FOLDER``."""

import argparse
from pathlib import Path

from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.pictures import export
from cmidd.utils.errors import one_line_errors


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    with one_line_errors():
        synthetic = load_synthetic(given.synthetic)
        export(synthetic.pixels(), synthetic.labels, synthetic.classes, given.folder)
