"""Write a synthetic set as PNGs and labels.csv: ``python scripts/export.py RUN/synthetic.safetensors FOLDER``."""

import argparse
import sys
from pathlib import Path

from cmidd import load_synthetic
from cmidd.errors import SettingError
from cmidd.pictures import export

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    try:
        export(load_synthetic(given.synthetic), given.folder)
    except SettingError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
