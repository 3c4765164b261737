"""Sweeps on the engines themselves: Slurm and Ray, on this machine."""

import json
import re
import subprocess
import sys

import pytest

from tests.support import slurm
from tests.support.refusals import bytes_of
from tests.support.runs import ROOT, TINY, TINY_METHOD, result

pytestmark = [pytest.mark.heavy, pytest.mark.no_cover]
DISTILL = [sys.executable, str(ROOT / "scripts" / "distill.py")]
DM = [*TINY, *TINY_METHOD["dm"], "evaluation.baselines=[]", "device=cpu"]
SHARING = [*TINY, *TINY_METHOD["mtt"], "cmi.lambda=1", "evaluation.baselines=[random]", "device=cpu"]
BY_SLURM = ["+launch=slurm", "hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1"]
BY_SLURM += ["hydra.launcher.mem_gb=1"]
BY_RAY = ["+launch=ray", "hydra.launcher.ray.remote.num_gpus=0"]
MADE = re.compile(r"(experts|teachers)\S*: (\d+) made now, (\d+) there already")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of a Slurm of one node."""
    pytest.importorskip("submitit")
    if reason := slurm.lacking():
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def sweep(folder, *words, environment=None):
    """Run ``distill.py -m``; what it said."""
    folder.mkdir(exist_ok=True)
    roots = [f"results_root={folder}/results", f"buffers_root={folder}/buffers"]
    command = [*DISTILL, *words, *roots, "-m"]
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout, ended.stderr


def record(folder):
    return json.loads((result(folder, "dm", 0) / "result.json").read_text())


def test_slurm_does_an_array_of_two_runs_and_its_missing_accounts_are_said_once(cluster, tmp_path):
    out, err = sweep(tmp_path, *DM, "seed=0,1", *BY_SLURM, environment=cluster)
    assert "2 runs: 2 done, 0 failed" in out
    assert (out + err).count("Bypassing sacct error") == 1


def test_a_run_that_its_time_limit_stopped_is_requeued_and_comes_to_the_same_bits(cluster, tmp_path):
    words = [*DM, "checkpoint_seconds=1000"]
    sweep(tmp_path / "probe", *words, "method.iterations=200")
    # 130 s of work, on a machine that is as busy then as now: the signal comes 110 s after a start at the latest.
    words.append(f"method.iterations={int(200 / record(tmp_path / 'probe')['seconds'] * 130)}")
    limit = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=10"]
    out, _ = sweep(tmp_path / "limited", *words, *BY_SLURM, *limit, environment=cluster)
    assert "1 runs: 1 done, 0 failed" in out
    log = (result(tmp_path / "limited", "dm", 0) / "distill.log").read_text()
    assert "resuming at iteration" in log
    sweep(tmp_path / "undisturbed", *words)
    ended = [tmp_path / name for name in ("limited", "undisturbed")]
    assert record(ended[0])["last"] == record(ended[1])["last"]
    assert len({(result(folder, "dm", 0) / "synthetic.safetensors").read_bytes() for folder in ended}) == 1


def test_jobs_that_prepare_a_sweep_share_the_work_and_the_sweep_that_depends_on_them_makes_none_of_it(
    cluster, tmp_path
):
    folders = [f"results_root={tmp_path}/results", f"buffers_root={tmp_path}/buffers"]
    line = subprocess.list2cmdline([*DISTILL, *SHARING, "seed=0,1", *folders, "-m", "prepare=true"])
    log = f"--output={tmp_path}/prepare_%a.log"
    command = ["sbatch", "--parsable", "--array=0-1", "--cpus-per-task=1", "--mem=1G", log, f"--wrap={line}"]
    prepared = subprocess.run(command, cwd=tmp_path, env=cluster, capture_output=True, text=True, check=True)
    depending = f"+hydra.launcher.additional_parameters.dependency=afterok:{prepared.stdout.strip()}"
    out, _ = sweep(tmp_path, *SHARING, "seed=0,1", *BY_SLURM, depending, environment=cluster)
    assert "2 runs: 2 done, 0 failed" in out
    said = [(tmp_path / f"prepare_{number}.log").read_text() for number in (0, 1)]
    made = [(kind, int(now)) for text in said for kind, now, _ in MADE.findall(text)]
    assert sum(now for kind, now in made if kind == "experts") == 2
    assert sum(now for kind, now in made if kind == "teachers") == 1
    for seed in (0, 1):
        log = (result(tmp_path, "mtt", 1, seed) / "distill.log").read_text()
        assert "training expert" not in log
        assert "training teacher" not in log


def test_slurm_and_ray_prepare_a_sweep_in_several_processes_and_the_runs_follow(cluster, tmp_path):
    pytest.importorskip("ray")
    out, _ = sweep(tmp_path, *SHARING, "seed=0,1", *BY_SLURM, "prepare=true", environment=cluster)
    assert {kind: (now, before) for kind, now, before in MADE.findall(out)} == {
        "experts": ("2", "0"),
        "teachers": ("1", "0"),
    }
    before = bytes_of(tmp_path / "buffers")
    out, _ = sweep(tmp_path, *SHARING, "seed=0,1", *BY_RAY, "prepare=true")
    assert {kind: (now, before) for kind, now, before in MADE.findall(out)} == {
        "experts": ("0", "2"),
        "teachers": ("0", "1"),
    }
    out, _ = sweep(tmp_path, *SHARING, "seed=0,1", *BY_RAY)
    assert "2 runs: 2 done, 0 failed" in out
    assert bytes_of(tmp_path / "buffers") == before
