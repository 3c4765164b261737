"""What earlier versions made still counts: finished runs, unfinished ones, experts, teachers, baselines and sets.

``golden/before`` was made at commit e4c98c8 by these words.
"""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from cmidd import load_synthetic
from cmidd.analysis.grouping import cells
from cmidd.analysis.results import read_results
from cmidd.cli.compose import compose
from cmidd.runs.run import run
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from tests.support.golden import GOLDEN

COMMON = ["network.width=4", "evaluation.repeats=2", "evaluation.training.epochs=2", "evaluation.baselines=[random]"]
COMMON += ["cmi.pool=2", "cmi.epochs=1", "ipc=2", "checkpoint_seconds=0"]
MTT = ["method=mtt", "method.iterations=4", "method.syn_steps=2", "method.experts.count=2"]
DM = ["method=dm", "method.iterations=4", "method.batch_real=8", "cmi.lambda=1"]
IDC = ["method=idc", "method.formation.factor=2", "method.iterations=4", "method.inner_loop=2", "method.batch_real=8"]
IDC += ["method.net_images=64"]
REPEATING = "method.distinct=false"  # since then images of a start may not repeat
FINISHED = {"dm": DM, "idc": [*IDC, REPEATING], "mtt": [*MTT, "cmi.lambda=1"]}
UNFINISHED = {  # by the name of the set in ended/
    "dm_cmi1": [*DM, "seed=1"],
    "idc_cmi0": [*IDC, REPEATING, "seed=1"],
    "mtt_cmi1": [*MTT, "cmi.lambda=1", "seed=1"],
    "mtt_cmi0.5": [*MTT, "cmi.lambda=0.5", "method.experts.training.epochs=5"],
}


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    """A copy of what was made before; the tests of this file go on with it."""
    folder = tmp_path_factory.mktemp("before")
    shutil.copytree(GOLDEN / "before", folder, dirs_exist_ok=True)
    return folder


def start(folder: Path, words: list[str]) -> Path:
    roots = [f"results_root={folder / 'results'}", f"buffers_root={folder / 'buffers'}"]
    settings = compose([*COMMON, *words, *roots])
    run(settings, lambda _: {})
    return settings.folder


def contents(folder: Path) -> dict[str, str]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_run_from_before_is_skipped(before, name):
    made = contents(before)
    assert (start(before, FINISHED[name]) / "DONE").exists()
    assert contents(before) == made


@pytest.mark.parametrize("name", UNFINISHED)
def test_an_unfinished_run_goes_on_to_the_set_of_before_and_nothing_is_trained_anew(before, name):
    made = contents(before / "buffers")
    folder = start(before, UNFINISHED[name])
    assert contents(before / "buffers") == made
    assert files.read_json(folder / "result.json")["evaluations"].keys() == {"4"}
    ours, theirs = (load_synthetic(path) for path in (folder / "synthetic.safetensors", ended(name)))
    # As on the machine that made it to the last bit; elsewhere sums are added in another order.
    torch.testing.assert_close(ours.images, theirs.images, rtol=5e-5, atol=5e-5)


def test_runs_of_before_count_beside_todays_in_one_cell(before):
    start(before, UNFINISHED["mtt_cmi1"])
    start(before, [*DM, "seed=2"])
    counted = {key: [result.seed for result in cell.results] for key, cell in cells(read_results([before])).items()}
    assert counted["mtt", "digits", 2, "1"] == [0, 1]
    assert {0, 2} <= set(counted["dm", "digits", 2, "1"])
    assert ("idc", "digits", 2, "0") in counted


def test_a_run_of_before_with_other_settings_is_refused_by_name(before):
    with pytest.raises(SettingError, match=r"method\.lr_img=3: the run in"):
        start(before, [*DM, "method.lr_img=3"])


def test_a_default_that_changes_what_is_computed_refuses_a_run_of_before_and_says_what_it_was(before):
    with pytest.raises(
        SettingError, match=r"method\.distinct=True: .* was made with method\.distinct=False; set it back"
    ):
        start(before, IDC)


@pytest.mark.parametrize("name", UNFINISHED)
def test_a_set_of_before_loads(name):
    synthetic = load_synthetic(ended(name))
    assert synthetic.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert synthetic.about["system"] == name.split("_")[0]


def ended(name: str) -> Path:
    return GOLDEN / "before" / "ended" / f"{name}.safetensors"
