"""Every script ends bad input with one line and exit code 2, and leaves every file as it was."""

import json
import subprocess
import sys

import pytest
import torch

from cmidd.data.load import load_dataset
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.data_files import images
from tests.support.records import record
from tests.support.refusals import ROOT, TRIED, acceptable, bytes_of, script, script_refused
from tests.support.runs import TINY, TINY_METHOD


@pytest.fixture
def place(tmp_path):
    """A folder with a record, a synthetic set, a foreign set, and one damaged file of each."""
    record(tmp_path / "results", "dm", "digits", 10, 0.0, 0, [48.0])
    record(tmp_path / "cut", "dm", "digits", 10, 0.0, 0, [48.0]).write_text("{")
    synthetic = SyntheticSet.from_real(load_dataset("digits"), 1, Streams(0)("init"))
    synthetic.save(tmp_path / "bare.safetensors")  # says nothing of how it is trained on
    about = {"data": {"name": "digits"}, "network": {"name": "mlp"}, "training": {"epochs": 1}}
    for name, change in {
        "good": {},
        "othernet": {"network": {"name": "nosuch"}},
        "netoption": {"network": {"name": "mlp", "spin": 1}},
        "othertraining": {"training": {"epochs": -1}},
        "otherdata": {"data": {"name": "mnist"}},
        "evildata": {"data": {"name": "../x"}},
        "listdata": {"data": ["digits"]},
    }.items():
        synthetic.about = {**about, **change}
        synthetic.save(tmp_path / f"{name}.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "good.safetensors").read_bytes()[:99])
    torch.save(torch.zeros(10, 1, 8, 8), tmp_path / "images_best.pt")
    torch.save(torch.arange(10), tmp_path / "labels_best.pt")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "settings.json").write_text("{}")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("keep me")
    images(tmp_path / "pictures")
    return tmp_path


BAD = {
    "distill": [
        ["method=nosuch"],
        ["ipc=0"],
        ["ipc=abc"],
        ["seed=-1"],
        ["method.lr_img=nan"],
        ["ipc=2000"],
        ["network.depth=9"],
        ["results_root=''"],
        ["device=tpu"],
        ["dataset=folder", "data.root=absent"],
        ["dataset=folder", "data.root=pictures", "ipc=9"],
        ["dataset=folder", "data.root=/nonexistent", "results_root=deep/down"],
        ["method=mtt", "network.norm=batchnorm"],
        ["ipc=2000", "overwrite=true"],
        ["ipc=2000", "dry_run=maybe"],
        ["dataset=cifar10", "data.root=deep/data", "data.download=false"],
        ["dataset=mnist", "data.root=absent", "data.download=false"],
        ["evaluation=5"],
        ["--config-name=nosuch"],
        ["--config-dir=absent"],
        ["+sweep=nosuch"],
        ["+launch=nosuch"],
        ["recipe=nosuch"],
        ["dry_run=maybe"],
        ["ipc=1=2"],
        ["ipc"],
    ],
    "buffer": [
        ["method=dm"],
        ["method=mtt", "method.experts.count=0"],
        ["method=mtt", "network=lenet"],
        ["method=mtt", "ipc=2000", "buffers_root=deep/b"],
    ],
    "baselines": [["evaluation.baselines=[]"], ["evaluation.baselines=[rnd]"], ["ipc=2000", "buffers_root=deep/b"]],
    "teachers": [
        ["cmi.pool=0"],
        ["cmi.teacher=nosuch"],
        ["cmi.epochs=1.5"],
        ["cmi.pool=1", "cmi.teacher=vgg11", "+x=1"],
    ],
    "evaluate": [
        [],
        ["synthetic=absent.safetensors"],
        ["synthetic=cut.safetensors"],
        ["synthetic=bare.safetensors"],
        ["synthetic=othernet.safetensors"],
        ["synthetic=netoption.safetensors"],
        ["synthetic=othertraining.safetensors"],
        ["synthetic=otherdata.safetensors", "data.root=absent", "data.download=false"],
        ["synthetic=evildata.safetensors"],
        ["synthetic=listdata.safetensors"],
        ["synthetic=good.safetensors", "method=dm"],
        ["synthetic=good.safetensors", "network=nosuch"],
        ["synthetic=good.safetensors", "networks=[]"],
        ["synthetic=good.safetensors", "networks={name: convnet, depth: 9}"],
        ["synthetic=good.safetensors", "networks=[mlp,{name: convnet, depth: 9}]", "repeats=1"],
        ["synthetic=good.safetensors", "repeats=0"],
        ["synthetic=begun", "dataset=digits", "method=dm"],
        ["synthetic=good.safetensors", "training.lr=nan"],
        ["synthetic=good.safetensors", "+training.typo=1"],
        ["synthetic=good.safetensors", "device=tpu"],
        ["synthetic=images_best.pt"],
        ["synthetic=images_best.pt", "dataset=digits"],
        ["synthetic=images_best.pt", "dataset=nosuch", "training.lr=0.1"],
        ["synthetic=images_best.pt", "dataset=digits", "method=nosuch", "training.lr=0.1"],
        ["synthetic=labels_best.pt", "dataset=digits", "method=dm"],
        ["synthetic=full", "dataset=digits", "method=dm"],
        ["synthetic=."],
    ],
    "export": [
        ["absent.safetensors", "new"],
        ["cut.safetensors", "new"],
        ["good.safetensors", "full"],
        ["good.safetensors", "full/file/new"],
        ["begun", "deep/new"],
        ["good.safetensors", "full/file"],
        ["images_best.pt", "new"],
        ["full", "new"],
        ["good.safetensors", "new", "format=pngs"],
        ["good.safetensors", "new", "formt=png"],
        ["good.safetensors", "new", "labels=soft"],
        ["good.safetensors"],
    ],
    "table": [
        ["results_root=absent"],
        ["results_root=cut"],
        ["results_root=[]"],
        ["table=nosuch"],
        ["verify=-1"],
        ["to=''"],
        ["+typo=1"],
    ],
    "figures": [
        [],
        ["method=dm"],
        ["method=dm", "dataset=digits", "results_root=absent"],
        ["method=dm", "dataset=digits", "results_root=cut"],
        ["method=dm", "dataset=digits"],
        ["method=dm", "dataset=digits", "weight=nan"],
        ["method=../dm", "dataset=digits"],
        ["method=dm", "dataset=nosuch"],
        ["method=dm", "dataset=digits", "ipc=0"],
        ["method=dm", "dataset=digits", "movie=gif"],
    ],
    "compare": [
        [],
        ["a=results"],
        ["a=results", "b=absent"],
        ["a=results", "b=dm:digits:10:5"],
        ["a=cut", "b=results"],
        ["a=results", "b=good.safetensors"],
        ["a=''", "b=results"],
        ["a=results", "b=results", "results_root=[]"],
        ["a=dm:digits:10", "b=results", "results_root=absent"],
        ["a=results", "b=results", "+typo=1"],
    ],
    "report": [["results_root=absent"], ["results_root=cut"], ["table=nosuch"], ["to=5"]],
    "bench": [
        ["task=[nosuch]"],
        ["task=[]"],
        ["mode=[fast]"],
        ["ipc=[0]"],
        ["cmi=[nan]"],
        ["steps=0"],
        ["dataset=[digits]"],
    ],
    "evidence": [[], ["absent"], ["cut"]],
}
SCRIPTS = {"evidence": "../tools/evidence"}  # the others lie in scripts/


@pytest.mark.heavy
@pytest.mark.parametrize("name", BAD)
def test_a_script_refuses_bad_words_in_one_line_and_changes_no_file(place, name):
    for words in BAD[name]:
        if name in ("export", "evidence") and len(words) < 2 and (name == "export" or not words):
            # argparse's own refusal has a line of usage before
            code, _, err = script(SCRIPTS.get(name, name), *words, cwd=place)
            assert code == 2
            assert "usage" in err
        else:
            script_refused(f"{name}.py", SCRIPTS.get(name, name), words, place)
    print({kind: len(tried) for kind, tried in TRIED.items()})


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("L", ["dataset.channels=1"]),
        ("RGB", ["dataset.channels=3"]),
        ("L", ["dataset.channels=3", "dataset.zca=true"]),
        ("RGB", ["dataset.size=17", "network.depth=2"]),
        ("RGB", ["dataset.size=23", "network=mlp", "cmi.lambda=1", "cmi.teacher=mlp"]),
    ],
)
def test_odd_but_sound_folders_are_distilled(tmp_path, mode, words):
    for part in ("train", "test"):
        images(tmp_path / "pictures" / part, count=1, size=(17, 23), mode=mode)
    given = [*TINY, *TINY_METHOD["dm"], "dataset=folder", "data.root=pictures", "ipc=1", "evaluation.baselines=[]"]
    small = [] if "network=mlp" not in words else ["~network.width"]
    given = [word for word in given if word != "network.width=8" or not small]
    code, _, err = script("distill", *given, *words, cwd=tmp_path)
    assert code == 0, err
    assert len(list(tmp_path.rglob("DONE"))) == 1


def test_a_script_in_a_process_of_its_own_ends_with_code_2_and_one_line(place):
    before = bytes_of(place)
    command = [sys.executable, str(ROOT / "scripts" / "table.py"), "results_root=cut"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    assert done.returncode == 2
    acceptable("process", command, done.stderr.strip(), "cut", "result.json")
    assert bytes_of(place) == before
    assert json.loads(next((place / "results").rglob("result.json")).read_text())
