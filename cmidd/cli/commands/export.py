"""Write a synthetic set as PNGs, labels.csv and synthetic.json: cmidd export RUN FOLDER.

RUN is a run's folder, its synthetic.safetensors, or a folder that this command wrote. What takes a RUN takes FOLDER,
which must be new.

Examples:
    cmidd export results/digits/mtt/ipc10/cmi0.1/seed0 digits_mtt
    cmidd export results/cifar10/dm/ipc10/cmi0/seed0/synthetic.safetensors ~/sets/dm10
    cmidd evaluate synthetic=digits_mtt
    cmidd export digits_mtt another_copy
"""

import argparse
import logging
from pathlib import Path

from cmidd.synthetic.exported import export
from cmidd.synthetic.load import load_synthetic
from cmidd.utils.errors import one_line_errors
from cmidd.utils.text import command_line


def main(words: list[str]) -> None:
    """Write the set."""
    parser = argparse.ArgumentParser(prog=command_line("export"), add_help=False)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("folder", type=Path)
    given = parser.parse_args(words)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        export(load_synthetic(given.synthetic), given.folder)
