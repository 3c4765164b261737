"""Keep the records of runs, with a small picture each: ``python scripts/evidence.py results/digits``."""

import shlex
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from cmidd import files
from cmidd.results import read_results

EVIDENCE = Path(__file__).parents[1] / "results" / "evidence"
MOST_PIXELS = 500


def main(roots: list[str]) -> None:
    for result in read_results(roots):
        parts = (result.dataset, result.system, f"ipc{result.ipc}", f"cmi{result.weight:g}", f"seed{result.seed}")
        kept = EVIDENCE / "_".join(parts)
        files.write_json(kept.with_name(f"{kept.name}.result.json"), _anywhere(result.record))
        picture = result.path.with_name("synthetic.png")
        if picture.exists():
            small = Image.open(picture)
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
    if len(sys.argv) < 2:
        sys.exit("usage: python scripts/evidence.py <folder of results> ...")
    main(sys.argv[1:])
