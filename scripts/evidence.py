"""Keep the records of runs, with a small picture each: ``python scripts/evidence.py results/digits``."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from cmidd import files
from cmidd.errors import one_line_errors
from cmidd.results import read_results
from cmidd.sources import read_picture

EVIDENCE = Path(__file__).parents[1] / "results" / "evidence"
MOST_PIXELS = 500


def main(roots: list[str]) -> None:
    for result in read_results(roots):
        parts = (result.dataset, result.system, f"ipc{result.ipc}", f"cmi{result.weight:g}", f"seed{result.seed}")
        kept = EVIDENCE / "_".join(parts)
        files.write_json(kept.with_name(f"{kept.name}.result.json"), _anywhere(result.record))
        picture = result.path.with_name("synthetic.png")
        if picture.exists():
            small = read_picture(picture, result.path.parent, "RGB", str(result.path.parent))
            small.thumbnail((MOST_PIXELS, MOST_PIXELS))
            with files.written_whole(kept.with_name(f"{kept.name}.png")) as beside:
                small.quantize(64).save(beside, format="PNG", optimize=True)
        print(kept)


def _anywhere(record: dict[str, Any]) -> dict[str, Any]:
    """The record with a command that names no folder of the machine where it was run."""
    if not record.get("command"):
        return record
    words = shlex.split(record["command"])
    kept = [word for word in words if not word.startswith(("buffers_root=", "results_root=", "data.root="))]
    return {**record, "command": shlex.join(kept)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roots", nargs="+", metavar="results")
    with one_line_errors():
        main(parser.parse_args().roots)
