"""cmidd as a library: the words that become of settings, the bits of the command line, and what is public."""

import contextlib
import doctest
import inspect
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch

import cmidd
from cmidd.cli import api
from cmidd.cli.compose import compose
from cmidd.runs.identity import BASELINE
from tests.support.refusals import refused, script
from tests.support.runs import TINY, TINY_METHOD
from tests.support.torch_programs import PROGRAMS

WORDS = {
    ("ipc", 3): "ipc=3",
    ("dry_run", False): "dry_run=false",
    ("cmi", "paper"): "cmi=paper",
    ("regularizer", ("iid", "cmi")): "regularizer=[iid,cmi]",
    ("results_root", "my results [1]"): "results_root='my results [1]'",
    ("batch", None): "batch=null",
    ("lr", 1e-5): "lr=1e-05",
    ("lambda", np.float64(0.1)): "lambda=0.1",
    ("ipc", np.int64(3)): "ipc=3",
    ("overwrite", np.bool_(True)): "overwrite=true",
    ("device", torch.device("cuda", 1)): "device='cuda:1'",
    ("baselines", ("random", np.str_("whole"))): "baselines=[random,whole]",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny run by the API, in a folder of its own."""
    folder = tmp_path_factory.mktemp("api")
    roots = [f"results_root={folder}/results", f"buffers_root={folder}/buffers"]
    return cmidd.distill(*TINY, *TINY_METHOD["dm"], *roots, "evaluation.baselines=[]", ipc=2, cmi={"lambda": 0.1})


@pytest.mark.parametrize("given", WORDS, ids=str)
def test_a_setting_becomes_the_word_of_the_command_line(given):
    assert api.as_words(dict([given])) == [WORDS[given]]


def test_arrays_of_numpy_and_torch_are_lists_and_a_tensor_without_axes_is_its_number():
    assert api.as_words({"lambda": torch.tensor(0.5), "a": np.arange(2), "b": torch.tensor([0.5, 2.0])}) == [
        "lambda=0.5",
        "a=[0,1]",
        "b=[0.5,2.0]",
    ]


def test_nested_settings_become_dotted_words_and_a_name_what_is_chosen():
    given = {"method": {"name": "dm", "augment": {"strategy": "flip"}}, "cmi": {"lambda": 0.1}}
    assert api.as_words(given) == ["method=dm", "method.augment.strategy=flip", "cmi.lambda=0.1"]
    assert api.as_words({"network": [{"name": "vgg11", "norm": "batchnorm"}]}) == [
        "network=[{name:vgg11,norm:batchnorm}]"
    ]


def test_the_same_settings_give_the_bits_of_the_command_line(made, tmp_path):
    words = [*TINY, *TINY_METHOD["dm"], "evaluation.baselines=[]", "ipc=2", "+cmi.lambda=0.1"]
    code, _, err = script("distill", *words, f"buffers_root={made.folder.parents[5]}/buffers", cwd=tmp_path)
    assert code == 0, err
    own = made.folder / "synthetic.safetensors"
    other = tmp_path / "results" / made.folder.relative_to(made.folder.parents[4]) / "synthetic.safetensors"
    assert own.read_bytes() == other.read_bytes()


def test_a_run_gives_its_set_accuracies_and_record_and_is_short_to_look_at(made):
    assert made.synthetic.images.shape == (20, 1, 8, 8)
    assert len(made.accuracies) == 2
    assert "ipc=2 cmi.lambda=0.1" in made.record.command
    assert len(repr(made)) < 250
    assert "per cent on test" in repr(made)
    assert (made.folder / ".hydra" / "overrides.yaml").exists()
    assert not [each for each in logging.getLogger().handlers if "distill.log" in str(each)]


def test_a_finished_run_is_only_read(made):
    before = (made.folder / "synthetic.safetensors").stat().st_mtime_ns
    root, buffers = made.folder.parents[4], made.folder.parents[5] / "buffers"
    words = [*TINY, *TINY_METHOD["dm"], f"results_root={root}", f"buffers_root={buffers}", "evaluation.baselines=[]"]
    again = cmidd.distill(*words, ipc=2, cmi={"lambda": 0.1})
    assert again.accuracies == made.accuracies
    assert (made.folder / "synthetic.safetensors").stat().st_mtime_ns == before


def test_a_run_its_folder_and_its_set_in_memory_are_evaluated_alike_and_nothing_is_written(made):
    before = sorted(made.folder.iterdir())
    few = {"networks": ["mlp"], "repeats": 2, "training": {"epochs": 2}}
    found = [cmidd.evaluate(each, **few) for each in (made, str(made.folder), made.synthetic)]
    assert found[0] == found[1] == found[2]
    assert list(found[0]) == ["mlp"]
    assert len(found[0]["mlp"]) == 2
    assert sorted(made.folder.iterdir()) == before


def test_a_data_set_is_what_a_run_sees():
    data = cmidd.load_dataset("digits", validation=0.2)
    assert data.held_out == "validation"
    assert torch.equal(data.train.images[:1], cmidd.load_dataset("digits", validation=0.2).train.images[:1])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_a_data_set_is_preprocessed_by_no_recipe_of_a_method_that_nobody_named(monkeypatch, name):
    monkeypatch.setattr(api.load, "load_dataset", lambda **settings: settings)
    found = cmidd.load_dataset(name)
    assert (found["zca"], found["statistics"]) == (False, name)
    given = cmidd.load_dataset(name, zca=True, statistics="cifar10")
    assert (given["zca"], given["statistics"]) == (True, "cifar10")


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_has_set_torch_for_itself_gets_the_same_bits(made, program):
    def found():
        accuracies = cmidd.evaluate(made, networks=["mlp"], repeats=1, evaluation={"training": {"epochs": 1}})
        loaded, data = cmidd.load_synthetic(made.folder), cmidd.load_dataset("digits")
        return accuracies, [loaded.images, loaded.decode().images, data.train.images, data.test.labels]

    expected = found()
    with PROGRAMS[program]():
        own = found()
    assert own[0] == expected[0]
    for tensor, plain in zip(own[1], expected[1], strict=True):
        assert (tensor.dtype, tensor.device) == (plain.dtype, plain.device)
        assert torch.equal(tensor, plain)


def test_what_is_wrong_is_refused_in_one_line(made):
    for name, call in {
        "ipcc": lambda: cmidd.distill(ipcc=3),
        "ipc": lambda: cmidd.distill(ipc=-1),
        "method=nosuch": lambda: cmidd.distill(method="nosuch"),
        "dry_run": lambda: cmidd.distill(dry_run=True),
        "prepare": lambda: cmidd.distill(prepare=True),
        "synthetic": lambda: cmidd.evaluate("nowhere"),
        "repeats": lambda: cmidd.evaluate(made, repeats=0),
        "dataset": lambda: cmidd.load_dataset("cifar11"),
        "dataset.size": lambda: cmidd.load_dataset("digits", size=3),
    }.items():
        refused("api", name, call, name)


def test_what_is_public_is_imported_when_it_is_asked_for():
    code = "import sys, cmidd; print(sorted({'torch', 'hydra', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(api.__all__) | {"__version__"} == set(cmidd.__all__)
    assert set(cmidd.__all__) <= set(dir(cmidd))
    for name in cmidd.__all__:
        assert getattr(cmidd, name) is not None
    with pytest.raises(AttributeError, match="nosuch"):
        cmidd.nosuch  # noqa: B018


def test_the_settings_of_a_call_do_not_stay_for_the_next_one(made):
    with contextlib.suppress(cmidd.SettingError):
        cmidd.distill(method="nosuch")
    assert compose(["method=dm"]).cmi.weight == float(BASELINE)


@pytest.mark.parametrize("name", ["distill", "evaluate", "load_dataset"])
def test_the_examples_of_the_docstrings_hold(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function = getattr(cmidd, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(function, name)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
    for parameter in inspect.signature(function).parameters:
        assert f"{parameter}:" in function.__doc__, parameter
