"""Sweeps: what fails does not take the others along, every launcher runs, nothing is lost on the way."""

import json
import logging
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from cmidd.cli import following_jobs
from cmidd.cli.app import SweepJournal
from cmidd.cli.compose import compose
from cmidd.compute.devices import free_one
from cmidd.runs.identity import BASELINE, strength
from cmidd.utils.text import duration
from tests.support.forked import server
from tests.support.runs import TINY, TINY_METHOD, distill, result, wait_for

pytestmark = pytest.mark.no_cover  # Others go through the same lines; tracing composes four times as long.


def done(cwd):
    return len(list((cwd / "results").rglob("DONE")))


def test_a_failing_run_leaves_the_others_alone_and_is_listed_with_its_reason(tmp_path):
    words = [*TINY_METHOD["dm"], "evaluation.baselines=[]", "ipc=2,500,3", "-m"]
    ended = distill(tmp_path, *words)
    assert ended.returncode == 1
    assert done(tmp_path) == 2
    assert "3 runs: 2 done, 1 failed" in ended.stdout
    assert "ipc=500: class" in ended.stdout.split("failed: ")[1]
    again = distill(tmp_path, *words)
    assert again.stdout.count("is finished, skipping") == 2
    assert not (tmp_path / "results" / ".sweeps").exists()


@pytest.mark.ci
def test_a_crash_of_a_run_is_kept_apart_as_well(tmp_path):
    # A results folder that cannot be written for one of the runs: a file stands where its folder should be.
    (tmp_path / "results" / "digits" / "dm" / "ipc10" / "cmi0").mkdir(parents=True)
    (tmp_path / "results" / "digits" / "dm" / "ipc10" / "cmi0" / "seed0").write_text("in the way")
    ended = distill(tmp_path, *TINY_METHOD["dm"], "evaluation.baselines=[]", "seed=0,1", "-m")
    assert ended.returncode == 1
    assert done(tmp_path) == 1
    assert "2 runs: 1 done, 1 failed" in ended.stdout


@pytest.mark.parametrize(
    ("launcher", "jobs"),
    [
        pytest.param(["+launch=gpus", "device=cpu", "hydra.launcher.n_jobs=2"], 4, marks=pytest.mark.ci),
        pytest.param(["+launch=local"], 2, marks=pytest.mark.heavy),  # each with the imports of a process of its own
        pytest.param(["+launch=ray", "hydra.launcher.ray.remote.num_gpus=0"], 2, marks=pytest.mark.ci),
    ],
    ids=["joblib", "submitit_local", "ray"],
)
def test_a_launcher_runs_its_jobs_and_reports_them(tmp_path, launcher, jobs):
    pytest.importorskip({"+launch=gpus": "joblib", "+launch=local": "submitit", "+launch=ray": "ray"}[launcher[0]])
    folders = [f"buffers_root={tmp_path}/buffers", f"results_root={tmp_path}/results"]
    seeds = f"seed={','.join(map(str, range(jobs)))}"
    words = [*TINY_METHOD["dm"], "evaluation.baselines=[]", seeds, *launcher, *folders, "-m"]
    ended = distill(tmp_path, *words, forked=False)
    assert ended.returncode == 0, ended.stderr
    assert done(tmp_path) == jobs
    assert f"{jobs} runs: {jobs} done, 0 failed" in ended.stdout
    if "+launch=gpus" in launcher:  # Whose lines come between each other's.
        for seed in range(jobs):
            label = f"[digits/dm/ipc10/cmi0/seed{seed}] "
            assert f"{label}dm on digits, seed {seed}:\n" in ended.stdout
            assert f"{label}  distillation  4 iterations\n" in ended.stdout


FAKE_SLURM = {
    "sbatch": """
text = pathlib.Path(sys.argv[-1]).read_text()
pathlib.Path("submitted.sh").write_text(text)
last = int(re.search(r"--array=0-(\\d+)", text)[1])
for task in range(last + 1):
    start(task)
print("Submitted batch job 4242")
""",
    "srun": """
words = sys.argv[1:]
first = next(index for index, word in enumerate(words) if word.split("/")[-1].startswith("python"))
pathlib.Path(f"pid_{os.environ['SLURM_ARRAY_TASK_ID']}").write_text(str(os.getpid()))
os.execv(words[first], words[first:])
""",
    "sacct": """
print("JobID|State|NodeList")
for task in range(4):
    print(f"4242_{task}|RUNNING|here")
""",
    "scontrol": """
assert sys.argv[1] == "requeue", sys.argv
pathlib.Path("requeued").write_text(sys.argv[2])
start(int(sys.argv[2].split("_")[1]), restarts=1)
os.kill(os.getpid(), 15)  # as Slurm ends all processes of the job, this one too
""",
}
FAKE_HEAD = """#!{python}
import os, pathlib, re, subprocess, sys


def start(task, restarts=0):
    more = {{"SLURM_ARRAY_JOB_ID": "4242", "SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": str(5000 + task)}}
    more |= {{"SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "1", "SLURM_NODEID": "0", "SLURM_PROCID": "0"}}
    more |= {{"SLURM_LOCALID": "0", "SLURM_RESTART_COUNT": str(restarts), "SLURM_JOB_NODELIST": "here"}}
    log = open(f"task_{{task}}.log", "a")
    subprocess.Popen(["bash", "submitted.sh"], env=os.environ | more, stdout=log, stderr=log, start_new_session=True)

"""


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs with the names of Slurm's that run what is submitted on this machine."""
    pytest.importorskip("submitit")
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in FAKE_SLURM.items():
        path = folder / name
        path.write_text(FAKE_HEAD.format(python=sys.executable) + body)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.ci
def test_slurm_gets_a_job_array_and_a_preempted_run_is_requeued_and_goes_on(tmp_path, slurm):
    words = [
        "method=dm",
        "method.iterations=200",
        "method.batch_real=8",
        "evaluation.baselines=[]",
        "checkpoint_seconds=1000",
    ]
    words += ["seed=0,1", "+launch=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=60", "-m"]
    command = [sys.executable, str(Path(__file__).parents[3] / "scripts" / "distill.py"), *TINY, *words]
    sweep = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        metrics = result(tmp_path, "dm", 0) / "metrics.jsonl"
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 2)
        os.kill(int((tmp_path / "pid_0").read_text()), signal.SIGUSR2)
        wait_for(lambda: (tmp_path / "requeued").exists())
        output, _ = sweep.communicate(timeout=240)
    finally:
        sweep.kill()
    assert sweep.returncode == 0, output
    assert "2 runs: 2 done, 0 failed" in output
    assert (tmp_path / "requeued").read_text() == "4242_0"
    assert "resuming at iteration" in (result(tmp_path, "dm", 0) / "distill.log").read_text()
    submitted = (tmp_path / "submitted.sh").read_text()
    options = dict(re.findall(r"#SBATCH --([\w-]+)=(\S+)", submitted))
    assert options["partition"] == "gpu"
    assert options["gpus-per-node"] == "1"
    assert options["cpus-per-task"] == "8"
    assert options["time"] == "60"
    assert options["array"] == "0-1%2"
    assert options["signal"] == "USR2@300"
    assert "--requeue" in submitted or "requeue" not in options


def test_a_cluster_without_accounts_is_said_once_and_all_else_as_often_as_it_happens(caplog):
    submitit = pytest.importorskip("submitit")
    for _ in range(2):  # A process may begin two sweeps.
        following_jobs.say_once()
    watcher = submitit.slurm.slurm.SlurmInfoWatcher()
    watcher._make_command = lambda: ["false"]
    said = logging.getLogger("submitit")
    for _ in range(3):
        watcher.update()
        said.warning("something else")
    assert said.handlers == []  # Hydra's says it.
    messages = [record.getMessage() for record in caplog.records]
    assert len([message for message in messages if message.startswith("Call #")]) == 1
    assert messages.count("something else") == 3


@pytest.mark.ci
def test_optuna_maximises_the_accuracy_on_a_validation_split(tmp_path):
    pytest.importorskip("optuna")
    words = ["+sweep=tune_cmi", *TINY_METHOD["dm"], "hydra.sweeper.n_trials=2"]
    ended = distill(tmp_path, *words)
    assert ended.returncode == 0, ended.stderr
    records = [json.loads(path.read_text()) for path in (tmp_path / "results" / "tuning").rglob("result.json")]
    assert len(records) == 2
    assert all(record["tested_on"] == "validation" for record in records)
    best = (tmp_path / "results" / "tuning" / "optimization_results.yaml").read_text()
    means = {f"{sum(record['last']['accuracies']) / 2:.6f}" for record in records}
    assert f"{float(re.search(r'best_value: (.*)', best)[1]):.6f}" == max(means, key=float)
    assert distill(tmp_path, *words).stdout.count("is finished, skipping") == 2


def test_a_study_whose_trials_all_fail_ends_with_the_report(tmp_path):
    pytest.importorskip("optuna")
    ended = distill(tmp_path, "+sweep=tune_cmi", *TINY_METHOD["dm"], "hydra.sweeper.n_trials=2", "ipc=500")
    assert ended.returncode == 1
    assert "2 runs: 0 done, 2 failed" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_the_best_of_a_study_is_kept_where_the_runs_are_and_that_of_an_earlier_one_beside(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}, "results_root": "~/tuning"})
    for best in ("1", "2", "2", "3"):
        (tmp_path / "optimization_results.yaml").write_text(best)
        SweepJournal().on_multirun_end(config)
    assert {path.name: path.read_text() for path in (tmp_path / "tuning").iterdir()} == {
        "optimization_results.yaml": "3",
        "optimization_results1.yaml": "1",
        "optimization_results2.yaml": "2",
    }
    assert not (tmp_path / "~").exists()


def hold_one(folder, queue):
    with free_one(["a", "b"], folder, poll_seconds=0.01) as index:
        queue.put((time.monotonic(), "takes", index, os.getpid()))
        time.sleep(0.2)
        queue.put((time.monotonic(), "leaves", index, os.getpid()))


@pytest.mark.ci
def test_four_processes_share_two_devices_and_never_one_of_them_at_once(tmp_path):
    context = server()
    queue = context.Queue()
    processes = [context.Process(target=hold_one, args=(tmp_path, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    events = sorted(queue.get(timeout=60) for _ in range(8))  # They arrive in any order.
    for process in processes:
        process.join()
    held: dict[int, int] = {}
    for _, what, index, pid in events:
        if what == "takes":
            assert index not in held
            held[index] = pid
        else:
            assert held.pop(index) == pid
    assert {index for _, _, index, _ in events} == {0, 1}


@pytest.mark.ci
def test_recipe_weights_are_the_published_ones_and_else_the_recipes_own():
    def weight(*words):
        return compose(["cmi=recipe", *words]).cmi.weight

    assert weight("method=dm", "dataset=cifar10", "ipc=10") == 8000
    assert weight("method=mtt", "dataset=digits", "ipc=10") == 0.1
    for method in ("dc", "dm", "dsa", "mtt", "idm", "idc"):
        for dataset in ("digits", "fashion_mnist", "mnist", "svhn", "cifar10", "cifar100"):
            for ipc in (1, 10, 50):
                words = ["cmi=recipe", f"method={method}", f"dataset={dataset}", f"ipc={ipc}"]
                assert strength(vars(compose(words).cmi)) != BASELINE


def test_durations_are_written_as_people_say_them():
    assert [duration(seconds) for seconds in (4.2, 720, 12600, 200000)] == ["4 s", "12 min", "3.5 h", "2.3 d"]
