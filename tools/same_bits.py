"""Does a change of the code leave every bit of a run as it was: ``python tools/same_bits.py CHECKOUT [BEFORE.json]``.

Runs the short runs of ``RUNS`` with the code of a checkout, one of them stopped in the middle and gone on with, and
prints as JSON a hash of every ``synthetic.safetensors`` and ``metrics.jsonl``, and all accuracies. Given what it
printed for another commit, it says instead where the two differ; exit code 1 when they do. Both on one machine, with
the same versions and threads.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

COMMON = ["network.width=8", "ipc=5", "evaluation.repeats=2", "evaluation.training.epochs=2", "evaluation.interval=10"]
COMMON += ["evaluation.whole.epochs=1", "cmi.pool=2", "cmi.epochs=1", "checkpoint_seconds=0"]
DM = ["method=dm", "method.iterations=20", "method.batch_real=16"]
GRADIENT = ["method.iterations=20", "method.batch_real=16", "method.outer_loop=2", "method.net.epochs=1"]
MTT = ["method=mtt", "method.iterations=20", "method.syn_steps=2", "method.expert_epochs=1", "method.max_start_epoch=2"]
MTT += ["method.experts.count=2"]
IDM = ["method=idm", "method.formation.factor=2", "method.iterations=20", "method.batch_real=16"]
IDM += ["method.queue_start=2", "method.queue_size=3", "method.net_generate_interval=3", "method.net_steps=2"]
IDM += ["method.meter_reset=7"]
IDC = ["method=idc", "method.formation.factor=2", "method.iterations=20", "method.inner_loop=2", "method.batch_real=16"]
IDC += ["method.net_images=64"]
DATM = ["method=datm", "method.iterations=20", "method.syn_steps=2", "method.expert_epochs=1", "method.experts.count=2"]
DATM += ["method.first_max_start_epoch=1", "method.max_start_epoch=2", "method.experts.training.epochs=3"]
DATM += ["evaluation.training.loss=soft"]
NCFM = ["method=ncfm", "method.iterations=20", "method.batch_real=16", "method.num_freqs=32", "method.models.count=2"]
NCFM += ["method.models.training.epochs=2"]
STAGED = ["schedule.stages=2", "schedule.warm_epochs=1", "schedule.pool=2"]
CMI = ["cmi.lambda=1"]
RUNS: dict[str, list[str]] = {
    "dm": [*DM, *CMI],
    "dc": ["method=dc", *GRADIENT, *CMI],
    "dsa": ["method=dsa", *GRADIENT, *CMI],
    "mtt": [*MTT, *CMI],
    "idm": [*IDM, *CMI],
    "idc": [*IDC, *CMI],
    "datm": [*DATM, *CMI],
    "ncfm": [*NCFM, *CMI],
    "ncfm, the first images, learned frequencies": [*NCFM, "sampler=first", "method.frequencies=learned"],
    "dm, bf16 compiled": [*DM, *CMI, "engine.precision=bf16", "engine.compile=true"],
    "dm, balanced, real centroids": [*DM, "cmi=balanced", "cmi.centroids=real"],
    "mtt, measured": [*MTT, "cmi.measure=true"],
    "iid": [*DM, "regularizer=[iid,cmi]", *CMI],
    "mim4dd": [*MTT, "regularizer=[mim4dd]"],
    "dream": [*IDC, "sampler=dream", *CMI],
    "pdd": [*MTT, "schedule=pdd", *STAGED, "schedule.overrides=[]", *CMI],
    "seqmatch": [*IDC, "schedule=seqmatch", *STAGED, "schedule.overrides=[]"],
}
STOPPED = "idm"


def main(checkout: Path, before: dict[str, Any] | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: ended(checkout, Path(folder, str(number)), words) for number, (name, words) in runs(folder)}
    if before is None:
        print(json.dumps(found, indent=2))
        return
    differing = [name for name in before if before[name] != found.get(name)]
    same = f"{len(before) - len(differing)} of {len(before)} runs: the same sets, metrics and accuracies"
    print("\n".join([same, *(f"DIFFERENT: {name}" for name in differing)]))
    sys.exit(1 if differing else 0)


def runs(folder: str) -> Any:
    """Every run with its words, those of the stopped one twice."""
    named = {**RUNS, f"{STOPPED}, stopped and gone on with": RUNS[STOPPED]}
    roots = [f"buffers_root={folder}/buffers"]
    return enumerate((name, [*COMMON, *words, *roots]) for name, words in named.items())


def ended(checkout: Path, folder: Path, words: list[str]) -> dict[str, Any]:
    """Run to the end; the last run of all is asked to stop when it has measured for the first time."""
    command = [sys.executable, str(checkout / "scripts" / "distill.py"), *words, f"results_root={folder}"]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    if folder.name == str(len(RUNS)):
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not list(folder.rglob("checkpoint.safetensors")):
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
        assert not list(folder.rglob("DONE")), "it ended before it could be stopped"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    files = sorted([*folder.rglob("synthetic.safetensors"), *folder.rglob("metrics.jsonl")])
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    record = json.loads(next(folder.rglob("result.json")).read_text())
    return {**hashes, "evaluations": record["evaluations"], "baselines": record["baselines"]}


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(
        Path(sys.argv[1]).absolute(),
        json.loads(Path(sys.argv[2]).read_text(encoding="utf-8")) if sys.argv[2:] else None,
    )
