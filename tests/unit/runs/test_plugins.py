"""Plug-ins on the command line: lists, weights, any combination that makes sense, and a reason for the others."""

import itertools
import json

import pytest
import torch
from omegaconf import OmegaConf

from cmidd import load_synthetic
from cmidd.analysis.tables.table import read_layout
from cmidd.cli.compose import CONFIGS, compose
from cmidd.methods import METHODS
from cmidd.regularizers import REGULARIZERS
from cmidd.runs.build import make_regularizers
from cmidd.samplers import SAMPLERS
from cmidd.schedules import SCHEDULES
from cmidd.utils.errors import SettingError
from tests.support.contexts import context
from tests.support.runs import distill, run_here, run_until

pytestmark = pytest.mark.no_cover  # Others go through the same lines; tracing composes four times as long.


def test_a_list_of_regularisers_takes_its_weights_like_cmi():
    for words, weights in (
        (["regularizer=iid", "dataset=cifar10"], {"iid": 1.0}),
        (["regularizer=[iid]", "iid.lambda=0.5"], {"iid": 0.5}),
        (["regularizer=[mim4dd,iid]", "+iid.lambda=0.5", "mim4dd.lambda=2"], {"iid": 0.5, "mim4dd": 2.0}),
    ):
        settings = compose(["method=dm", *words])
        assert {name: given["weight"] for name, given in settings.regularizers.items()} == weights
        assert settings.cmi.weight == 0
    assert compose(["method=dm", "regularizer=[iid,cmi]"]).cmi.weight == compose(["method=dm", "cmi=recipe"]).cmi.weight
    assert compose(["method=dm", "regularizer=[iid,cmi]", "+cmi.lambda=0.3"]).cmi.weight == 0.3
    assert compose(["method=dm", "dataset=cifar10", "cmi=paper", "regularizer=iid"]).cmi.weight == 8000


def test_a_run_with_plug_ins_has_a_folder_of_its_own_and_the_plain_one_keeps_its():
    def folder(*words):
        return compose(["method=idc", *words]).folder.as_posix()

    assert folder() == "results/digits/idc/ipc10/cmi0/seed0"
    assert folder("sampler=dream") == "results/digits/idc+dream/ipc10/cmi0/seed0"
    everything = folder("schedule=pdd", "regularizer=[mim4dd,iid,cmi]", "sampler=dream", "cmi.lambda=3")
    assert everything == "results/digits/idc+iid+mim4dd+dream+pdd/ipc10/cmi3/seed0"
    assert not {"sampler", "schedule", "regularizers"} & compose(["method=idc"]).identity.keys()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["method=mtt", "regularizer=iid"],
            "regularizer=iid: needs batches of real images, and method=mtt has none; use",
        ),
        (
            ["method=datm", "sampler=first"],
            "sampler=first: chooses no image here, for method=datm matches no real batches and method.init=recognised",
        ),
        (["method=dm", "regularizer=iid", "iid.lambda=-1"], "iid.lambda=-1: expected a number >= 0, or null for 0.001"),
        (["method=dm", "regularizer=iid", "+iid.lamda=1"], "iid.lamda: unknown setting"),
        (["method=dm", "regularizer=iid", "iid.covariance=x"], "iid.covariance=x: Input should be a valid number"),
        (["method=dm", "+iid.lambda=1"], "iid: not among the regularisers of this run; add regularizer=iid"),
        (["method=dm", "regularizer=nosuch"], "regularizer=nosuch: unknown; choose one of cmi, iid, mim4dd"),
        (["method=dm", "sampler=nosuch"], "sampler=nosuch: unknown; choose one of dream, first, random"),
        (["method=dm", "schedule=nosuch"], "schedule=nosuch: unknown; choose one of pdd, seqmatch, whole"),
        (["method=dm", "sampler=dream", "sampler.interval=0"], "sampler.interval=0: Input should be greater than 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(words, message):
    with pytest.raises(SettingError) as refused:
        compose(words)
    assert message in str(refused.value)


def test_on_the_command_line_it_is_one_line_and_exit_code_2(tmp_path):
    done = distill(tmp_path, "method=mtt", "regularizer=[iid,cmi]", tiny=False)
    assert done.returncode == 2
    assert "regularizer=iid: needs batches of real images" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.rglob("settings.json"))


TOGETHER = {
    "dm": ["regularizer=[iid,mim4dd,cmi]", "sampler=dream", "schedule=pdd"],
    "dsa": ["regularizer=[iid,cmi]", "sampler=dream", "schedule=seqmatch"],
    "idm": ["regularizer=[iid,cmi]", "sampler=dream", "schedule=pdd"],
    "idc": ["regularizer=[iid,mim4dd,cmi]", "sampler=dream", "schedule=seqmatch"],
    "mtt": ["regularizer=[mim4dd,cmi]", "schedule=seqmatch"],
    "ncfm": ["regularizer=[iid,mim4dd,cmi]", "sampler=dream", "schedule=pdd"],
}


@pytest.mark.parametrize("method", TOGETHER)
def test_everything_that_fits_a_method_goes_together_and_resumes_to_the_same_bits(tmp_path, method):
    words = [*TOGETHER[method], "schedule.stages=2", "schedule.warm_epochs=1", "schedule.pool=2", "ipc=4"]
    words += ["cmi.lambda=1", "checkpoint_seconds=0"]
    whole = run_here(tmp_path / "whole", method, *words)
    run_until(2, "checkpoint_stage2.safetensors", tmp_path / "results", method, *words)
    resumed = run_here(tmp_path / "results", method, *words)
    assert torch.equal(*(load_synthetic(folder / "synthetic.safetensors").images for folder in (whole, resumed)))
    records = [json.loads((folder / "result.json").read_text()) for folder in (whole, resumed)]
    assert records[0]["evaluations"] == records[1]["evaluations"]
    terms = json.loads((whole / "metrics.jsonl").read_text().splitlines()[-2])
    assert terms.keys() >= set(words[0].removeprefix("regularizer=[").removesuffix("]").split(","))


def test_every_plug_in_has_a_config_and_every_config_a_plug_in():
    for group, table in (
        ("regularizer", REGULARIZERS),
        ("sampler", SAMPLERS),
        ("schedule", SCHEDULES),
        ("method", METHODS),
    ):
        assert {path.stem for path in (CONFIGS / group).glob("*.yaml")} == set(table)


@pytest.mark.parametrize("path", sorted((CONFIGS / "recipe").glob("s*/*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_of_a_plug_in_passes_all_checks(path):
    name, method, dataset = path.stem.split("_", 2)
    for ipc in (10, 50):
        settings = compose([f"{path.parent.name}={name}", f"method={method}", f"dataset={dataset}", f"ipc={ipc}"])
        assert settings.folder.parts[2] == f"{method}+{name}"


def test_published_settings_of_the_papers_cells():
    pdd = compose(["schedule=pdd", "method=mtt", "dataset=cifar10", "ipc=50"])
    assert (pdd.method["syn_steps"], pdd.method["max_start_epoch"], pdd.dataset["zca"]) == (30, 15, True)
    seqmatch = compose(["schedule=seqmatch", "method=mtt", "dataset=cifar10", "ipc=50"])
    assert seqmatch.schedule["stages"] == 3
    assert seqmatch.method["lr_teacher"] == 0.001
    dream = compose(["sampler=dream", "method=idc", "dataset=svhn", "ipc=10"])
    assert (dream.method["batch_real"], dream.sampler["interval"]) == (128, 10)
    iid = {method: compose(["regularizer=iid", f"method={method}", "dataset=cifar10"]) for method in ("dm", "idm")}
    rest = {"weight": 1.0, "teacher_weight_decay": 5e-4}
    assert iid["dm"].regularizers["iid"] == {"covariance": 0.01, "centralization": 0.05, **rest}
    assert iid["idm"].regularizers["iid"] == {"covariance": 0.03, "centralization": 0.01, **rest}


@pytest.mark.parametrize("name", REGULARIZERS)
def test_every_term_asks_for_the_teachers_that_it_says(tmp_path, name):
    settings = compose([f"regularizer=[{name}]", f"{name}.lambda=1", "method=dm", "ipc=2"])
    asked = []
    make_regularizers(settings, context(tmp_path, ipc=2), lambda **changes: asked.append(changes))
    assert asked == settings.taught_with


def test_the_sweeps_of_the_plug_ins_make_the_cells_of_the_digits_table():
    folders = set()
    for sweep in ("iid", "mim4dd", "dream", "staged"):
        params = OmegaConf.load(CONFIGS / "sweep" / f"{sweep}.yaml").hydra.sweeper.params
        choices = [[f"{name}={value}" for value in str(values).split(",")] for name, values in params.items()]
        folders |= {compose(list(words)).folder.parts[2:5:2] for words in itertools.product(*choices)}
    columns, rows = read_layout(OmegaConf.to_container(OmegaConf.load(CONFIGS / "command" / "table" / "digits.yaml")))
    assert len(columns) == 1
    assert {system for system, _ in folders} == {row.system for row in rows if row.added}
    assert sum(weight == "cmi0" for _, weight in folders) == len(folders) / 2 == 9
