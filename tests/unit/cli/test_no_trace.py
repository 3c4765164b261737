"""What a command leaves that does nothing: no file, no lock, no empty folder, also where another is at work."""

import functools
import multiprocessing
import os
import tempfile
import time
from urllib.error import URLError

import pytest

from cmidd.data.load import load_dataset
from cmidd.utils import locks
from tests.support.refusals import refused, script, script_refused, tree_of
from tests.support.runs import TINY, TINY_METHOD, again, distill, run_here

WORDS = [*TINY, *TINY_METHOD["dm"], "evaluation.baselines=[]"]
SWEEPS = {
    "of runs that are refused": ["seed=0,1", "ipc=500", "-m"],
    "that cannot be composed": ["method=dm,nosuch", "-m"],
    "of a launcher that does not exist": ["seed=0,1", "hydra/launcher=nosuch", "-m"],
    "below folders that are not there": ["ipc=500", "results_root=a/b/c", "-m"],
    "on several processes": ["seed=0,1", "ipc=500", "+launch=gpus", "device=cpu", "hydra.launcher.n_jobs=2", "-m"],
}


@pytest.mark.ci
@pytest.mark.parametrize("name", SWEEPS)
def test_a_refused_sweep_leaves_nothing(tmp_path, name):
    if "+launch=gpus" in SWEEPS[name]:
        pytest.importorskip("joblib")
        ended = distill(tmp_path, *TINY_METHOD["dm"], *SWEEPS[name], forked=False)
        code, err = ended.returncode, ended.stderr
    else:
        code, _, err = script("distill", *WORDS, *SWEEPS[name], cwd=tmp_path)
    assert code in (1, 2), err
    assert tree_of(tmp_path) == {}


def test_a_dry_run_leaves_nothing_alone_or_as_a_sweep(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    before = tree_of(tmp_path)
    for words in ([], ["seed=0,1", "-m"], ["seed=0,1", "results_root=a/b", "-m"]):
        code, _, err = script("distill", *WORDS, "dry_run=true", *words, cwd=tmp_path)
        assert code == 0, err
        assert tree_of(tmp_path) == before


@pytest.mark.parametrize("name", ["table", "compare", "evaluate", "report", "figures", "bench"])
def test_a_sweep_of_another_script_leaves_nothing_either(tmp_path, name):
    code, _, err = script(name, "+typo=1", "-m", cwd=tmp_path)
    assert code in (1, 2), err
    assert tree_of(tmp_path) == {}


def test_a_sweep_that_goes_well_leaves_its_runs_alone(tmp_path):
    code, _, err = script("distill", *WORDS, "seed=0,1", "-m", cwd=tmp_path)
    assert code == 0, err
    folders = [path.relative_to(tmp_path / "results") for path in (tmp_path / "results").rglob("*") if path.is_dir()]
    assert {str(path) for path in folders if len(path.parts) == 5} == {
        f"digits/dm/ipc10/cmi0/seed{seed}" for seed in (0, 1)
    }
    left = {path.name for path in (tmp_path / "results").rglob("*") if path.is_file()}
    assert not [
        name for name in left if name.endswith((".lock", ".yaml")) and name not in ("config.yaml", "overrides.yaml")
    ]


def test_overwriting_moves_nothing_aside_before_the_new_run_is_admitted(tmp_path):
    folder = run_here(tmp_path / "results", "dm")
    before = tree_of(tmp_path)
    for words in (["network.depth=9"], ["ipc=500"], ["data.download=false", "dataset=mnist", "data.root=absent"]):
        script_refused("no trace", "distill", [*WORDS, "overwrite=true", *words], tmp_path, words[0].split("=")[0])
    script_refused(
        "no trace", "distill", [*WORDS, "cmi.epochs=9", "network.activation=swish"], tmp_path, "overwrite=true"
    )
    assert tree_of(tmp_path) == before
    again(tmp_path / "results", "overwrite=true")
    assert folder.with_name("seed0.replaced1").is_dir()


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn"])
def test_a_download_that_fails_leaves_no_folder(tmp_path, monkeypatch, name):
    def no_network(*_, **__):
        raise URLError("no network")

    for module in ("mnist", "cifar"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", no_network)
    monkeypatch.setattr("torchvision.datasets.utils.urllib.request.urlopen", no_network)
    load = functools.partial(load_dataset, name, root=tmp_path / "deep" / "data", download=True)
    refused("no trace", name, load, f"dataset={name}")


def test_a_lock_goes_with_whoever_made_it_and_with_its_folders(tmp_path):
    with locks.locked(tmp_path / "a" / "b" / "c", wait=False) as mine:
        assert mine
        assert (tmp_path / "a" / "b" / ".c.lock").exists()
        with locks.locked(tmp_path / "a" / "b" / "c", wait=False) as other:
            assert not other
        assert (tmp_path / "a" / "b" / ".c.lock").exists()
    assert tree_of(tmp_path) == {}
    with locks.locked(tmp_path / "a" / "b" / "c", wait=True):
        (tmp_path / "a" / "b" / "c").write_text("made")
    assert [path.name for path in tree_of(tmp_path)] == ["a", "b", "c"]
    (tmp_path / "a" / "b" / ".c.lock").write_text("")  # of a process that was killed
    before = tree_of(tmp_path)
    with locks.locked(tmp_path / "a" / "b" / "c", wait=False) as mine:
        assert mine
    assert tree_of(tmp_path) == before


def hold(path, inside, times):
    """Take the lock again and again; whoever else is inside at the same time makes it fail."""
    for _ in range(times):
        with locks.locked(path, wait=True):
            assert os.open(inside, os.O_CREAT | os.O_EXCL) >= 0
            time.sleep(0.001)
            inside.unlink()


def test_a_lock_that_comes_and_goes_is_still_held_by_one_at_a_time(tmp_path):
    context = multiprocessing.get_context("fork")
    path, inside = tmp_path / "deep" / "down" / "thing", tmp_path / "inside"
    processes = [context.Process(target=hold, args=(path, inside, 12)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 6
    assert not [path for path in tree_of(tmp_path) if path.is_file()]


def test_a_lock_whose_file_was_removed_while_somebody_waited_is_not_taken_for_the_new_one(tmp_path):
    fcntl = pytest.importorskip("fcntl")  # which Windows has not
    beside = tmp_path / ".thing.lock"
    with beside.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with locks.locked(tmp_path / "thing", wait=False) as mine:
            assert not mine
        beside.unlink()
        with locks.locked(tmp_path / "thing", wait=False) as mine:
            assert mine
    assert tree_of(tmp_path) == {}
