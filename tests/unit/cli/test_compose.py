"""What is typed is taken or refused with the right name; what a recipe chose by itself is said once, and named."""

import re
from importlib.metadata import EntryPoint

import pytest
from hydra.core.config_store import ConfigStore

from cmidd.cli.app import hydra_app
from cmidd.cli.compose import compose, composition
from cmidd.cli.configs import CONFIGS
from cmidd.cli.told_plugins import plugins_known, tell_plugins
from cmidd.utils import plugins
from cmidd.utils.errors import SettingError
from tests.support import compositions
from tests.support.refusals import script

MISTYPED = {
    "iterations=40": "iterations: unknown setting; did you mean method.iterations?",
    "+iterations=40": "iterations: unknown setting; did you mean method.iterations?",
    "++iterations=40": "iterations: unknown setting; did you mean method.iterations?",
    "+init=noise": "init: unknown setting; did you mean method.init?",
    "+formation.factor=3": "formation: unknown setting; did you mean method.formation?",
    "+regularizers={iid:{}}": "regularizers: unknown setting; did you mean <name>.lambda of regularizer=[<name>]?",
    "metod=dm": "metod: unknown setting; did you mean method?",
    "+metod=dm": "metod: unknown setting; did you mean method?",
    "evaluation.epochs=3": "evaluation.training.epochs or evaluation.whole.epochs or evaluation.features.epochs?",
    "sampler.foo=1": "sampler.foo: unknown setting; choose one that is known in sampler: name",
    "method.iteratons=5": "method.iteratons: unknown setting; did you mean method.iterations?",
    "+method.iteratons=5": "method.iteratons: unknown setting; did you mean method.iterations?",
    "+method.lr_imag=5": "method.lr_imag: unknown setting; did you mean method.lr_img?",
}


@pytest.mark.parametrize("word", MISTYPED)
def test_a_mistyped_setting_is_refused_with_the_right_name(word):
    with pytest.raises(SettingError, match=re.escape(MISTYPED[word])) as error:
        compose(["method=dm", word])
    assert "Hydra" not in str(error.value)
    assert "use +" not in str(error.value)


def test_what_a_recipe_lacks_is_said_once_with_the_setting_and_not_before_a_refusal(tmp_path):
    words = ["method=dc", "regularizer=[iid]", "ipc=3", "dry_run=true"]
    code, out, _ = script("distill", *words, cwd=tmp_path)
    assert code == 0
    assert out.count("method.net.epochs: none published for dc on digits at ipc=3; that of ipc=1, 1, is used") == 1
    assert out.count("iid.covariance: none published for dc; that of dm, 0.01, is used") == 1
    code, out, err = script("distill", *words, "method.lr_img=-1", cwd=tmp_path)
    assert code == 2
    assert "none published" not in out + err


@pytest.mark.parametrize("method", ["dm", "ncfm"])
def test_what_a_protocol_lacks_is_not_said_of_the_method_whose_images_are_evaluated(method, monkeypatch):
    monkeypatch.setattr("cmidd.cli.compose.notes", said := [])
    composition([f"method={method}", "dataset=tiny_imagenet", "ipc=20", "evaluation=ncfm"])
    words = "evaluation.training.epochs: none published for tiny_imagenet at ipc=20; that of ipc=10, 300, is used"
    assert [note for note in said if note.startswith("evaluation")] == [words]


def test_a_recipes_own_weight_is_said_as_the_setting_that_takes_it_and_only_where_it_is_taken(tmp_path):
    words = ["method=dm", "dataset=cifar10", "ipc=1", "dry_run=true"]
    _, out, _ = script("distill", *words, "cmi=recipe", cwd=tmp_path)
    assert out.count("cmi.lambda: none published for dm on cifar10 at ipc=1; the recipe's 8000 is used") == 1
    for others in ([], ["cmi=balanced"], ["cmi.lambda=3"], ["cmi=recipe", "cmi.lambda=3"]):
        assert "published" not in script("distill", *words, *others, cwd=tmp_path)[1]
    words = ["method=idm", "dataset=mnist", "regularizer=[iid]", "dry_run=true"]
    assert "iid.lambda: none published for idm_mnist" in script("distill", *words, cwd=tmp_path)[1]
    assert "iid.lambda" not in script("distill", *words, "iid.lambda=1", cwd=tmp_path)[1]


QUIET = "defaults: [_self_, override hydra/job_logging: none, override hydra/hydra_logging: none]"


def composed_twice(words, folder):
    """What Hydra makes of words where a test process keeps its work, and where it does not."""
    kept = [composition(words, "distill", folder).settings for _ in range(2)][1]
    compositions.keep_nothing()
    try:
        return kept, composition(words, "distill", folder).settings
    finally:
        compositions.keep()


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["method=mtt", "dataset=cifar10", "ipc=1", "cmi=recipe", "method.syn_steps=3", "++dataset.validation=7"],
        ["method=dc", "ipc=3", "sampler=dream", "regularizer=[iid]", "iid.lambda=2", "~wandb"],
    ],
)
def test_what_a_test_process_keeps_of_hydras_work_is_what_it_would_do_again(words):
    kept, anew = composed_twice(words, CONFIGS)
    assert kept == anew


def test_a_config_that_was_written_since_is_read_again(tmp_path):
    for seed in (3, 44):
        (tmp_path / "distill.yaml").write_text(f"{QUIET}\nseed: {seed}\n")
        kept, anew = composed_twice([], tmp_path)
        assert kept == anew == {"seed": seed}


def test_a_plug_in_that_was_registered_since_is_found(tmp_path):
    (tmp_path / "distill.yaml").write_text(QUIET.replace("_self_", "_self_, method: late") + "\n")
    store = ConfigStore.instance()
    try:
        for seed in (3, 4):
            store.store("late", {"seed": seed}, "method")
            kept, anew = composed_twice([], tmp_path)
            assert kept == anew == {"method": {"seed": seed}}
    finally:
        del store.repo["method"]["late.yaml"]


def test_a_method_of_ones_own_takes_no_setting_of_that_name_from_a_command(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    points = {"theirs": EntryPoint("theirs", "cmidd.methods.dm:DM", "cmidd.methods")}
    monkeypatch.setattr(plugins, "entry_points_of", lambda group: points if group == "cmidd.methods" else {})
    seen = []

    def load():
        return lambda settings: seen.append((settings["method"], composition(["method=theirs"]).settings["method"]))

    with plugins_known(True):
        hydra_app(load, "figures", ["method=theirs", "dataset=digits"])
    monkeypatch.undo()
    tell_plugins()
    assert seen == [("theirs", {"name": "theirs"})]


@pytest.mark.parametrize("group, some", [("sweep", "dream, frontier, "), ("launch", "gpus, local, ")])
def test_a_group_in_which_nothing_is_chosen_yet_takes_a_plus(group, some):
    with pytest.raises(
        SettingError, match=rf"^{group}: nothing is chosen there yet; give \+{group}=<name>, one of {some}"
    ):
        compose([f"{group}=table1"])
