"""Keep the records of runs, with a small picture each, sets of at most 2 MB and baselines that were measured alone:
``python tools/evidence.py results/digits``. What is kept of another run under the same name (other teachers, more
iterations) is not written over.

With ``--ratios`` print instead what runs with ``cmi=balanced`` or ``cmi.measure=true`` measured, as Markdown.
"""

import argparse
import shlex
import shutil
import statistics
from pathlib import Path
from typing import Any

from cmidd.analysis.grouping import read_baselines
from cmidd.analysis.results import Result, read_results
from cmidd.data.image_files import open_picture
from cmidd.runs.identity import identity_differences
from cmidd.runs.record import read_record
from cmidd.synthetic.places import SET
from cmidd.utils import files
from cmidd.utils.checking import shown
from cmidd.utils.errors import SettingError, one_line_errors
from cmidd.utils.text import table_row

EVIDENCE = Path(__file__).parents[1] / "results" / "evidence"
MOST_PIXELS = 500
MOST_SET_BYTES = 2 * 10**6


def main(roots: list[str], suffix: str = "") -> None:
    for result in read_results(roots):
        parts = (result.dataset, result.system, f"ipc{result.ipc}", f"cmi{result.strength}", f"seed{result.seed}")
        kept = EVIDENCE / _name(*parts, suffix)
        record = kept.with_name(f"{kept.name}.result.json")
        _refuse_another(record, result)
        files.write_json(record, _anywhere(files.read_json(result.path)))
        picture = result.path.with_name("synthetic.png")
        if picture.exists():
            small = open_picture(picture, result.path.parent, "RGB", str(result.path.parent))
            small.thumbnail((MOST_PIXELS, MOST_PIXELS))
            with files.atomic_write(kept.with_name(f"{kept.name}.png")) as beside:
                small.quantize(64).save(beside, format="PNG", optimize=True)
        stored = result.path.with_name(SET)
        if stored.exists() and stored.stat().st_size <= MOST_SET_BYTES:
            with files.atomic_write(kept.with_name(f"{kept.name}.safetensors")) as beside:
                shutil.copyfile(stored, beside)
        print(kept)
    for cell in read_baselines(roots).values():
        name = _name(cell.record["dataset"], *cell.key[:2], cell.key[3], suffix)
        path = EVIDENCE / f"{name}.baseline.json"
        if path.exists():
            _refuse_other_accuracies(path, files.read_json(path)["accuracies"], cell.accuracies)
        files.write_json(path, cell.record)
        print(EVIDENCE / name)


def _name(*parts: Any) -> str:
    return "_".join(str(part) for part in parts if part not in (None, ""))


def _refuse_another(path: Path, result: Result) -> None:
    """Refuse to write over the record of a run that computed something else."""
    if not path.exists():
        return
    kept = Result(path, read_record(path))
    found = identity_differences(kept.settings, result.settings)
    if found:
        name, old, new = found[0]
        raise SettingError(f"{path}: keeps a run of {name}={shown(old)}, and this one has {shown(new)}; {WAY}")
    _refuse_other_accuracies(path, kept.accuracies, result.accuracies)


def _refuse_other_accuracies(path: Path, kept: list[float], new: list[float]) -> None:
    """Refuse to write over accuracies that the new ones do not go on from."""
    if new[: len(kept)] != kept:
        raise SettingError(f"{path}: keeps the same once more, with other accuracies; {WAY}")


WAY = "give --suffix=<word>, in which its name then ends, or remove the other"
HEAD = (
    "method, data set, IPC",
    "term",
    "weight",
    "its gradient, times the loss's",
    "least to most (n steps)",
    "weight of ratio 1",
)


def ratios(results: list[Result]) -> str:
    """How large the gradients of weighted terms are beside the loss's, in the first steps of every stage."""
    lines = [table_row(HEAD), "| --- | --- |" + " ---: |" * (len(HEAD) - 2)]
    for result in results:
        stages = result.record.weights or []
        for stage, name in ((number, name) for number, terms in enumerate(stages) for name in terms):
            weight, measured = stages[stage][name]["weight"], stages[stage][name]["measured"]
            given = result.settings["cmi"] if name == "cmi" else result.settings["regularizers"][name]
            cells = [
                f"{result.system}, {result.dataset}, {result.ipc}",
                f"{name}, stage {stage + 1}" if len(stages) > 1 else name,
                f"{weight:.4g}" + (", measured" if given["weight"] is None else ""),
                f"{stages[stage][name]['ratio']:.2g}",
                f"{weight / max(measured):.2g} to {weight / min(measured):.2g} ({len(measured)})",
                f"{statistics.median(measured):.4g}",
            ]
            lines.append(table_row(cells))
    return "\n".join(lines)


def _anywhere(record: dict[str, Any]) -> dict[str, Any]:
    """The record with a command that names no folder of the machine where it was run."""
    if not record.get("command"):
        return record
    words = shlex.split(record["command"])
    kept = [word for word in words if not word.startswith(("buffers_root=", "results_root=", "data.root="))]
    kept = [f"cmi.teachers={Path(word).name}" if word.startswith("cmi.teachers=") else word for word in kept]
    return {**record, "command": shlex.join(kept)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("roots", nargs="+", metavar="results")
    parser.add_argument("--ratios", action="store_true", help="print the measured ratios of gradients")
    parser.add_argument("--suffix", default="", metavar="word", help="what the names of the kept files end in")
    given = parser.parse_args()
    with one_line_errors():
        if given.ratios:
            print(ratios(read_results(given.roots)))
        else:
            main(given.roots, given.suffix)
