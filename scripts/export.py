"""Write a synthetic set as PNGs and labels.csv: ``python scripts/export.py RUN/synthetic.safetensors FOLDER``."""

import argparse
from pathlib import Path

from cmidd import load_synthetic
from cmidd.errors import one_line_errors
from cmidd.pictures import export

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    with one_line_errors():
        export(load_synthetic(given.synthetic), given.folder)
