"""What runs share is made ahead of them, once, and nothing else is."""

import pytest

from cmidd.cli.dry_run import show_sweep
from cmidd.cli.sweep_runs import runs_of
from cmidd.utils.errors import SettingError
from tests.support.refusals import bytes_of, script
from tests.support.runs import TINY, TINY_METHOD

WORDS = [*TINY, *TINY_METHOD["mtt"], "evaluation.baselines=[random,herding]", "evaluation.features.epochs=1"]
SWEEP = [*WORDS, "-m", "cmi.lambda=0,1", "seed=0,1"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder where a sweep of four runs was prepared, and what that said."""
    folder = tmp_path_factory.mktemp("prepared")
    return folder, script("distill", *SWEEP, "prepare=true", cwd=folder)


def test_a_prepared_sweep_has_what_its_runs_share_and_no_run(prepared):
    folder, (code, out, err) = prepared
    assert code == 0, err
    assert [path.name for path in folder.iterdir()] == ["buffers"]
    assert "4 runs: 4 done, 0 failed" in out
    assert "  experts: 2 made now, 0 there already" in out
    assert "  teachers: 1 made now, 0 there already" in out
    assert "  baselines, with the networks and images that they need: 4 made now, 0 there already" in out
    assert out.count("training expert") + err.count("training expert") == 0
    following = out.splitlines()[-1]
    assert following.startswith("next: ")
    assert following.endswith("-m cmi.lambda=0,1 seed=0,1")


def test_what_is_there_is_not_made_again_and_the_run_makes_none_of_it(prepared):
    folder, _ = prepared
    before = bytes_of(folder / "buffers")
    code, out, _ = script("distill", *WORDS, "cmi.lambda=1", "prepare=true", cwd=folder)
    assert code == 0
    assert "  experts: 0 made now, 2 there already" in out
    assert out.splitlines()[-1].endswith("cmi.lambda=1")
    assert script("distill", *WORDS, "cmi.lambda=1", cwd=folder)[0] == 0
    assert bytes_of(folder / "buffers") == before
    _, out, _ = script("distill", *WORDS, "cmi.lambda=1", "prepare=true", cwd=folder)
    assert "nothing is left to run" in out


def test_a_part_that_cannot_be_made_fails_and_takes_no_other_along(tmp_path):
    words = [*TINY, *TINY_METHOD["dm"], "cmi.lambda=1", "evaluation.features.lr=1e30"]
    words += ["evaluation.features.epochs=1", "evaluation.baselines=[herding]"]
    code, out, _ = script("distill", *words, "-m", "seed=0", "prepare=true", cwd=tmp_path)
    assert code == 1
    assert "evaluation.features.lr=1e+30" in out.split("failed: ")[1]
    assert "results/digits/dm/ipc10/cmi1/seed0" in out
    assert len(list((tmp_path / "buffers" / "teachers").rglob("*.safetensors"))) == 1


def test_what_prepares_nothing_says_so(tmp_path):
    code, _, err = script("teachers", "prepare=true", cwd=tmp_path)
    assert code == 2
    assert "prepare=true: only distill.py prepares runs" in err
    with pytest.raises(SettingError, match="prepare=true with dry_run=true"):
        show_sweep(["method=dm", "-m", "seed=0,1", "prepare=true"], "true")
    pytest.importorskip("optuna")
    with pytest.raises(SettingError, match="prepare=true: OptunaSweeper chooses each run"):
        runs_of(["+sweep=tune_cmi", "prepare=true"], "prepare=true")
