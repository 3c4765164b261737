"""Write a synthetic set as pictures with a JSON, or in another project's format: cmidd export RUN FOLDER.

RUN is a run's folder, its synthetic.safetensors, or a folder that this command wrote. FOLDER must be new; the commands
that take a RUN take it as well.

format=png, the default, writes PNGs, labels.csv and synthetic.json: the whole set, except what eight-bit pictures lose.
Other formats hold less, and refuse what they cannot hold: format=mtt (images_best.pt, labels_best.pt, lr_best.pt), dc
(res_*.pt), idc (data.pt, args.txt) and parquet (the Hugging Face hub's). labels=hard leaves soft labels out.

Examples:
    cmidd export results/digits/mtt/ipc10/cmi0.1/seed0 digits_mtt
    cmidd export results/cifar10/dm/ipc10/cmi0/seed0/synthetic.safetensors ~/sets/dm10 format=dc
    cmidd evaluate synthetic=digits_mtt
    cmidd export digits_mtt tensors format=mtt
"""

import argparse
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cmidd.synthetic.exports import refuse_unknown, write
from cmidd.synthetic.load import load_synthetic
from cmidd.utils.checking import checked
from cmidd.utils.errors import SettingError, one_line_errors
from cmidd.utils.text import command_line


def main(words: list[str]) -> None:
    """Write the set."""
    parser = argparse.ArgumentParser(
        prog=command_line("export"), usage="%(prog)s RUN FOLDER [format=...] [labels=hard]", add_help=False
    )
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("folder", type=Path)
    settings = [word for word in words if re.match(r"\w+=", word)]
    given = parser.parse_args([word for word in words if word not in settings])
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with one_line_errors():
        asked = _asked(settings)
        write(load_synthetic(given.synthetic), given.folder, asked.format, hard=asked.labels == "hard")


@dataclass(frozen=True)
class Asked:
    """What may be typed beside the two paths."""

    format: str = "png"
    labels: Literal["all", "hard"] = "all"


def _asked(settings: list[str]) -> Asked:
    """The settings; a path with an equals sign is given as ``./a=b``."""
    pairs = dict(word.split("=", 1) for word in settings)
    if len(pairs) < len(settings):
        raise SettingError(f"{' '.join(settings)}: one of these twice; give each once")
    asked = Asked(**checked(Asked, pairs, ""))
    refuse_unknown(asked.format)
    return asked
