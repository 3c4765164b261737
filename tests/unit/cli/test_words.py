"""Hydra's grammar does not get between a user and a path, and what it refuses is said in one line of ours."""

import argparse

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cmidd.cli.refusals import refuse_no_names
from cmidd.cli.words import as_hydra_reads, quoted, take_hydras_help
from tests.support.refusals import script, script_refused

PIECES = st.text(alphabet="a/~ []{}()=,:'\"\\é!$%&*;<>?|`^@+-#", min_size=1, max_size=12)


@settings(deadline=None)  # The first parse reads the grammar: 0.4 seconds on a busy machine.
@given(PIECES)
@example("\\")
@example("a\\\\")
@example("\\\\")
def test_any_path_comes_through_the_grammar_as_it_is(path):
    read = OverridesParser.create().parse_override(f"data.root={quoted(path)}").value()
    assert read == path or (read == f"./{path}" and not path.strip("\\"))


ODD = ["flowers and [trees]", "a=b", "it's here", "(1)", "a,b", "ends in \\", "ünïcode", "+x", '"quoted" in part']


@pytest.mark.parametrize("name", ODD)
def test_a_folder_of_any_name_is_found(tmp_path, name):
    (tmp_path / name).mkdir()
    words = ["dataset=folder", "method=dm", f"data.root={tmp_path / name}"]
    code, _, err = script("distill", *words, cwd=tmp_path)
    assert code == 2
    assert f"data.root={tmp_path / name}: found 0 class folder(s)" in err


def test_the_home_folder_is_expanded_wherever_the_shell_has_left_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for word in ("data.root=~/flowers", "data.root='~/flowers'", "++data.root=~/flowers"):
        _, _, err = script("distill", "dataset=folder", "method=dm", word, cwd=tmp_path)
        assert f"data.root={tmp_path}/flowers: no such folder" in err
    code, out, _ = script("table", "table=digits", "results_root=~", "to=~/mine", cwd=tmp_path)
    assert code == 0
    assert f"written: {tmp_path}/mine.md" in out
    assert (tmp_path / "mine.md").exists()


def test_lists_quotes_interpolations_and_sweeps_of_paths_stay_what_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word in ("results_root=[a,b]", "results_root='a b'", "data.root=${results_root}/x", "cmi.teachers=null"):
        assert as_hydra_reads([word]) == [word]
    assert as_hydra_reads(["-m", "data.root=a,b"]) == ["-m", "data.root=a,b"]
    (tmp_path / "[a,b]").mkdir()
    assert as_hydra_reads(["results_root=[a,b]"]) == ["results_root='[a,b]'"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "seed=0,1", "--cfg", "job"], "--multirun and --cfg: each asks for something else; give one of them"),
        (["--info", "--cfg", "job"], "--cfg and --info: each asks for something else; give one of them"),
        (["--shell-completion"], "--shell-completion: give install=<shell>"),
        (["--resolve"], "--resolve: says how --cfg shows the settings; give --cfg job as well"),
        (["--package", "cmi"], "--package: says how --cfg shows the settings; give --cfg job as well"),
    ],
)
def test_options_of_hydra_that_do_not_go_together_are_one_line_and_start_no_run(tmp_path, words, said):
    script_refused("options", "distill", words, tmp_path, said)


def test_options_may_stand_anywhere():
    assert as_hydra_reads(["ipc=1", "-m", "seed=1,2", "--cfg", "job"]) == ["-m", "--cfg", "job", "ipc=1", "seed=1,2"]


HYDRAS = {
    "~nosuch": "nosuch: unknown setting; choose one that is known",
    "~ipc=7": "~ipc=7: ipc is 1, so nothing is taken away; give ipc=7 to set it",
    "~cmi.ratio": "~cmi.ratio: it is null already; leave the word out",
    "~regularizer": "~regularizer: nothing is chosen there; leave the word out",
    "~method": "~method: every run needs one; choose another by method=<name>",
    "~method.lr_img": "method.lr_img: missing; give a value",
    "nosuch@x=1": "nosuch@x=1: there is no such group of configs; choose one of cmi, dataset",
    "+nosuch@x=1": "+nosuch@x=1: there is no such group of configs; choose one of cmi, dataset",
    "+dataset=digits": "+dataset: is chosen already; use dataset=<name>, without the +",
    "method=[dm,dc": "method=[dm,dc: cannot be read; put a value with blanks, brackets, commas or quotes in quotes",
    "cmi.lambda=(1": "cmi.lambda=(1: cannot be read; put a value",
    "ipc": "ipc: a setting without a value; give ipc=<value>",
    "ipc=1,10": "ipc=1,10: several values; use --multirun for a run with each of them, or ipc=[1,10] for a list",
    "cmi=0.1": "cmi=0.1: chooses one by its name; choose one of balanced, none, paper, recipe, or give the weight, cmi",
    "dataset=10": "dataset=10: chooses one by its name; choose one of arrays, cifar10",
    "method=[dm,dc]": "method=[dm,dc]: chooses one by its name; choose one of datm, dc, dm",
    "method=dm,dc": "method=dm,dc: several values; use --multirun for a run with each of them",
    "method": "method: a setting without a value; give method=<value>, without blanks around the sign",
    "dm": "dm: a value without its setting; give method=dm",
    "a" * 300: "a" * 300 + ": a setting without a value; give",
    "results/evidence": "results/evidence: a value without its setting; give <setting>=results/evidence, --help says",
    "hydra.foo=1": "hydra.foo: unknown setting; choose one that is known in hydra: callbacks",
    "+hydra.foo=1": "+hydra.foo=1: Hydra has no setting foo there; choose one of callbacks",
    "++hydra.job.nam=x": "++hydra.job.nam=x: Hydra has no setting nam there; choose one of chdir",
    "--multrun": "--multrun: unknown option; did you mean --multirun?",
    "--method=dm": "--method=dm: unknown option; give settings without dashes: method=dm",
    "--cfg=nosuch": "argument --cfg/-c: invalid choice: 'nosuch'",
}


@pytest.mark.parametrize("word", HYDRAS)
def test_what_hydra_refuses_is_one_line_with_the_way_out(tmp_path, word):
    message = script_refused("words", "distill", ["ipc=1", word], tmp_path, HYDRAS[word])
    assert "hydra.cc" not in message


def test_a_group_that_takes_one_name_is_not_offered_a_list(tmp_path):
    said = script_refused("words", "distill", ["sampler=first,dream"], tmp_path, "use --multirun")
    assert "for a list" not in said


@pytest.mark.parametrize("word", ["cmi=[recipe]", "evaluation=[default,dm]"])
def test_a_list_of_names_is_taken_where_hydra_takes_one(word):
    refuse_no_names([word])


def test_groups_that_no_setting_is_called_like_are_known_too(tmp_path):
    script_refused("words", "distill", ["nosuch=1"], tmp_path, "prepare, recipe, regularizer, results_root")
    script_refused("words", "evaluate", ["regularizr=iid"], tmp_path, "did you mean regularizer?")


def test_another_script_names_its_own_settings(tmp_path):
    script_refused("words", "figures", ["recip=x"], tmp_path, "choose one that is known: buffers_root, data")
    script_refused("words", "table", ["resultsroot=x"], tmp_path, "did you mean results_root? known: data, device")
    script_refused("words", "bench", ["tasks=[dm]"], tmp_path, "did you mean task?")


def test_hydras_options_are_taken_where_argparse_checks_help_as_soon_as_it_is_given(monkeypatch):
    """As from Python 3.14 on."""
    add = argparse.ArgumentParser.add_argument

    def check(self, action):
        if action.help:
            self._get_formatter()._expand_help(action)

    def add_checked(self, *names, **settings):
        action = add(self, *names, **settings)
        self._check_help(action)
        return action

    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", check, raising=False)
    monkeypatch.setattr(argparse.ArgumentParser, "add_argument", add_checked)
    with pytest.raises(TypeError):
        get_args_parser()
    take_hydras_help()
    assert as_hydra_reads(["ipc=1", "-m"]) == ["-m", "ipc=1"]
    with pytest.raises(ValueError, match="format"):
        argparse.ArgumentParser().add_argument("--ours", help="100 %")
