"""The folder of a run: what goes on there, and what is put aside."""

import json

import pytest

from cmidd.cli.journal import report
from cmidd.runs.plan import plan
from cmidd.runs.run import run
from tests.support.refusals import refused
from tests.support.runs import TINY, TINY_METHOD, again, compose, run_here, run_until


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of the set that a run makes."""
    return (run_here(tmp_path_factory.mktemp("undisturbed") / "results", "dm") / "synthetic.safetensors").read_bytes()


def killed(root, *words):
    run_until(2, "checkpoint.safetensors", root, "dm", "checkpoint_seconds=0", *words)


def runs_in(root):
    return sorted(path.name for path in (root / "digits" / "dm" / "ipc10" / "cmi0").iterdir() if path.is_dir())


@pytest.mark.parametrize("earlier", [True, False], ids=["beside an earlier run", "alone"])
def test_a_killed_run_that_overwrites_goes_on_by_the_same_command(tmp_path, caplog, undisturbed, earlier):
    root, kept = tmp_path / "results", ["seed0.replaced1"] if earlier else []
    if earlier:
        run_here(root, "dm")
    killed(root, "overwrite=true")
    assert runs_in(root) == ["seed0", *kept]
    words = [*TINY, *TINY_METHOD["dm"], "evaluation.baselines=[]", f"results_root={root}", "overwrite=true"]
    assert plan(compose(words)).state == "goes on at iteration 2 of 4"
    caplog.set_level("INFO")
    again(root, "overwrite=true")
    assert "resuming at iteration 2" in caplog.messages
    assert runs_in(root) == ["seed0", *kept]
    folder = root / "digits" / "dm" / "ipc10" / "cmi0" / "seed0"
    assert (folder / "synthetic.safetensors").read_bytes() == undisturbed
    assert (folder / "DONE").exists()
    assert not (folder / "OVERWRITING").exists()
    assert plan(compose(words)).state == "to do"
    again(root, "overwrite=true")
    assert runs_in(root)[-1] == f"seed0.replaced{len(kept) + 1}"


def no_checkpoint(folder):
    path = folder / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    ("begun", "words", "damage"),
    [
        (["overwrite=true"], ["method.lr_img=3"], lambda folder: None),
        (["overwrite=true"], [], no_checkpoint),
        ([], [], lambda folder: None),
    ],
    ids=["other settings", "a damaged checkpoint", "not begun with overwrite"],
)
def test_what_cannot_go_on_or_was_begun_otherwise_is_put_aside(tmp_path, begun, words, damage):
    root = tmp_path / "results"
    killed(root, *begun)
    damage(root / "digits" / "dm" / "ipc10" / "cmi0" / "seed0")
    chosen = [*TINY, *TINY_METHOD["dm"], *words, "evaluation.baselines=[]", f"results_root={root}", "overwrite=true"]
    assert plan(compose(chosen)).state == "to do"
    run(compose(chosen), lambda _: {})
    assert runs_in(root) == ["seed0", "seed0.replaced1"]


def test_a_finished_run_with_a_damaged_record_says_what_makes_it_again_and_that_does(tmp_path):
    folder = run_here(tmp_path / "results", "dm")
    path = folder / "result.json"
    whole = json.loads(path.read_text())
    path.write_text(path.read_text()[:100])
    way_out = f"remove {folder / 'DONE'}, and the same command makes it"
    refused("run folder", "cut record", lambda: again(tmp_path / "results"), path, way_out, "overwrite=true")
    (folder / "DONE").unlink()
    again(tmp_path / "results")
    made = json.loads(path.read_text())
    assert [made[name] for name in ("last", "evaluations", "seconds")] == [
        whole[name] for name in ("last", "evaluations", "seconds")
    ]


@pytest.mark.parametrize("text", ["[]", "null", '"x"'])
def test_settings_that_are_none_are_called_damaged(tmp_path, text):
    root = tmp_path / "results"
    killed(root)
    (path,) = root.rglob("settings.json")
    path.write_text(text)
    refused("run folder", text, lambda: again(root), f"{path}: damaged", "overwrite=true")


def test_the_report_of_a_sweep_that_overwrites_says_that_the_others_run_once_more():
    entries = [{"state": "failed", "words": ["seed=1"], "reason": "x"}]
    assert report(entries, ["-m", "seed=0,1"]).endswith("goes on with these and leaves the others as they are.")
    assert report(entries, ["-m", "seed=0,1", "overwrite=true"]).endswith("and runs the others once more.")
