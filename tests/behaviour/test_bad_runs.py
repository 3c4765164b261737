"""Records, runs and buffers that are damaged, of another version or made for something else are refused in one line,
and nothing in them is touched.
"""

import json
import math
import shutil

import pytest
import torch

from cmidd.analysis.grouping import cells
from cmidd.analysis.results import read_results
from cmidd.buffers.experts import Experts, ExpertSettings
from cmidd.buffers.teachers import TeacherPool
from cmidd.cli.compose import compose
from cmidd.compute.recipe import TrainingRecipe
from cmidd.runs.costs import costs
from cmidd.runs.run import run
from cmidd.utils import files
from tests.support.contexts import context
from tests.support.records import record
from tests.support.refusals import NOT_JSON, ROOT, TRIED, bytes_of, damage, edited, mostly_heavy, put, refused, without
from tests.support.runs import TINY, TINY_METHOD, again, run_until

RECORDS = {
    "settings": [None, [], "x"],
    "settings.method": [None, "dm", {}, {"name": 5}, {"name": "../../evil"}, {"name": "a/b"}, {"name": ""}],
    "settings.dataset": [None, {"name": "..\\x"}, {"name": "a\nb"}, {"name": "<script>"}],
    "settings.ipc": [None, 0, -1, "10", 1.5, True, 10**12],
    "settings.seed": [None, -1, "0", 1.5],
    "settings.cmi": [None, {}, {"weight": -1}, {"weight": "0.1"}, {"weight": True}, {"weight": None}],
    "settings.regularizers": [{"../x": {}}, ["iid"]],
    "settings.schedule": [{"name": "a b"}, "pdd"],
    "last": [None, {}, []],
    "last.accuracies": [None, [], ["48"], [-1.0], [101.0], 48.0],
    "last.iteration": [None, 0, "10", 1.5],
    "tested_on": [None, "train", 5],
    "evaluations": [{}, {"x": [1.0]}, {"1": []}, {"-1": [1.0]}, []],
    "evaluated_at_seconds": [{"1": "x"}, {"1": -1}],
    "baselines": [[], {"random": []}, {"random": "x"}],
    "weights": [{}, [{"cmi": {}}], [{"cmi": {"weight": 1, "ratio": 0.3, "measured": []}}], [{"../x": {}}]],
    "seconds": ["1", -1, None],
    "peak_memory_mib": ["x", -5],
    "device": [5],
    "command": [5, ["a"]],
    "differs_from_recipe": [{"a": 1}, {"a": [1]}, [1]],
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_with_a_part_that_cannot_be_is_refused_and_counts_for_no_costs(tmp_path, name, caplog):
    path = record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [48.0])
    good = json.loads(path.read_text())
    assert len(cells(read_results([tmp_path]))) == 1
    *above, last = name.split(".")
    for value in RECORDS[name]:
        bad = json.loads(json.dumps(good))
        holder = bad
        for key in above:
            holder = holder[key]
        holder[last] = value
        path.write_text(json.dumps(bad))
        refused("record", (name, value), lambda: read_results([tmp_path]), path, name.split(".")[0])
        if name != "tested_on":
            costs.cache_clear()
            caplog.clear()
            assert costs(tmp_path) == {}
            assert caplog.messages[0].startswith(f"not counted in how long runs take: {path}: ")
        if name in ("settings.ipc", "last.iteration", "tested_on"):
            del holder[last]
            path.write_text(json.dumps(bad))
            refused("record", (name, "missing"), lambda: read_results([tmp_path]), path, last)


@pytest.mark.parametrize("flaw", NOT_JSON)
def test_a_record_that_is_no_json_is_refused(tmp_path, flaw):
    path = record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [48.0])
    damage(path, NOT_JSON[flaw])
    refused("record", flaw, lambda: read_results([tmp_path]), path)


def test_a_huge_record_and_one_that_is_no_file_are_refused(tmp_path, monkeypatch):
    path = record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [48.0])
    monkeypatch.setattr(files, "MOST_TEXT", 10)
    refused("record", "huge", lambda: read_results([tmp_path]), path)
    path.unlink()
    path.mkdir()
    refused("record", "a folder", lambda: read_results([tmp_path]), path)
    refused("record", "no root", lambda: read_results([tmp_path / "none"]), "results_root=")


def test_the_records_that_are_kept_as_evidence_are_sound():
    assert len(read_results([ROOT / "results" / "evidence"])) >= 30


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run that was killed after its second iteration, and its words."""
    folder = tmp_path_factory.mktemp("begun") / "results"
    run_until(2, "checkpoint.safetensors", folder, "dm", "checkpoint_seconds=0")
    return folder


STATES = {
    "no leaf": edited(without("leaf_0")),
    "leaf of other images": edited(put("leaf_0", torch.zeros(100, 3, 8, 8))),
    "leaf of other classes": edited(put("leaf_0", torch.zeros(90, 1, 8, 8))),
    "NaN in the leaf": edited(put("leaf_0", torch.full((100, 1, 8, 8), math.nan))),
    "momentum of other images": edited(put("momentum_0", torch.zeros(100, 3, 8, 8))),
    "no iteration": edited(without("iteration")),
    "iteration as text": edited(put("iteration", "2")),
    "a negative iteration": edited(put("iteration", -2)),
    "no evaluations": edited(without("evaluations")),
    "evaluations as a list": edited(put("evaluations", [])),
    "no seconds": edited(without("seconds")),
    "negative seconds": edited(put("seconds", -1.0)),
    "no evaluated_at": edited(without("evaluated_at")),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "empty": lambda path: path.write_bytes(b""),
}
TEXTS = {
    "settings.json": {key: value for key, value in NOT_JSON.items() if key not in ("null",)} | {"others": '{"ipc": 3}'},
    "engine.json": {**NOT_JSON, "an unknown key": '{"speed": 9}', "an unknown precision": '{"precision": "f8"}'},
    "metrics.jsonl": {
        "no json": "{\n",
        "a list": "[]\n",
        "no iteration": '{"loss": 1}\n',
        "NaN": '{"iteration": 1, "loss": NaN}\n',
        "text": '{"iteration": 1, "loss": "x"}\n',
        "an iteration as text": '{"iteration": "1"}\n',
    },
}
FLAWS = [("checkpoint.safetensors", flaw) for flaw in STATES]


FLAWS += [(name, flaw) for name, texts in TEXTS.items() for flaw in texts]


@pytest.mark.parametrize(("name", "flaw"), mostly_heavy(FLAWS, keep=7))
def test_a_run_refuses_what_it_cannot_go_on_from_and_leaves_it_as_it_was(begun, tmp_path, name, flaw):
    folder = tmp_path / "results"
    shutil.copytree(begun, folder)
    (path,) = folder.rglob("settings.json")
    path = path.with_name(name)
    if name in TEXTS:
        damage(path, TEXTS[name][flaw])
    else:
        STATES[flaw](path)
    before = bytes_of(folder)
    refused("run folder", (name, flaw), lambda: again(folder), path.parent)
    assert bytes_of(folder) == before


@pytest.mark.heavy
@pytest.mark.parametrize("flaw", ["no queue", "a queue of another network"])
def test_a_state_that_the_method_cannot_take_over_is_refused(tmp_path, flaw):
    folder = tmp_path / "results"
    run_until(2, "checkpoint.safetensors", folder, "idm", "checkpoint_seconds=0")
    path = only(folder, "checkpoint.safetensors")
    name = "objective/meters" if flaw == "no queue" else "objective/0/classifier.weight"
    edited(without(name) if flaw == "no queue" else put(name, torch.zeros(3, 3)))(path)
    before = path.read_bytes()
    refused("run folder", flaw, lambda: again(folder, method="idm"), path)
    assert path.read_bytes() == before


@pytest.mark.heavy
def test_a_finished_run_without_a_sound_record_is_refused(begun, tmp_path):
    folder = tmp_path / "results"
    shutil.copytree(begun, folder)
    again(folder)
    (path,) = folder.rglob("result.json")
    good = json.loads(path.read_text())
    for key in ("settings", "last", "tested_on", "baselines", "best_on_test"):
        path.write_text(json.dumps({name: value for name, value in good.items() if name != key}))
        before = bytes_of(folder)
        refused("run folder", ("result.json without", key), lambda: again(folder), path, key)
        assert bytes_of(folder) == before
    for flaw, text in NOT_JSON.items():
        damage(path, text)
        refused("run folder", ("result.json", flaw), lambda: again(folder), path)
    path.unlink()
    refused("run folder", "no result.json", lambda: again(folder), path)


IDC, IDM = TINY_METHOD["idc"][1:], TINY_METHOD["idm"][1:]
WRONG = [
    (["network.depth=9"], "network.depth=9"),
    (["network.norm=groupnorm", "network.width=10"], "network.width=10"),
    (["cmi.lambda=1", "cmi.teacher=resnet18"], "network=resnet18"),
    (["cmi.measure=true", "cmi.teacher=lenet"], "network=lenet"),
    (["cmi.lambda=1", "cmi.teacher=vgg11"], "vgg11"),
    (["method=idc", *IDC, "method.formation.factor=9"], "method.formation.factor=9"),
    (["method=idc", *IDC, "network=mlp"], "network"),
    (["method=idc", *IDC, "+method.net.schedule=cosine"], "method.net.schedule=cosine"),
    (["method=idm", *IDM, "+method.net.epochs=7"], "method.net.epochs=7"),
    (["method=idm", *IDM, "method.queue_size=2", "method.queue_start=3"], "method.queue_size=2"),
    (["ipc=500"], "ipc=500"),
    (["dataset.statistics=cifar10"], "dataset.statistics=cifar10"),
    (["device=cuda"], "device=cuda"),
    (["dataset=cifar10", "data.download=false", "data.root=/nonexistent"], "dataset=cifar10"),
]


@pytest.mark.parametrize(("words", "name"), WRONG, ids=lambda value: str(value))
def test_what_does_not_fit_is_refused_before_a_folder_is_made(tmp_path, words, name):
    refused("run", words, lambda: again(tmp_path / "results", *words), name)
    assert not list(tmp_path.rglob("settings.json"))


MTT = [
    (["method.experts.training.epochs=1", "method.max_start_epoch=9"], "method.experts.training.epochs=1"),
    (["network.norm=batchnorm"], "network.norm=batchnorm"),
]


@pytest.mark.parametrize(("words", "name"), MTT, ids=lambda value: str(value))
def test_mtt_refuses_before_it_trains_experts(tmp_path, words, name):
    roots = [f"results_root={tmp_path}/r", f"buffers_root={tmp_path}/b"]
    chosen = compose([*TINY, *TINY_METHOD["mtt"], *roots, *words])
    refused("run", words, lambda: run(chosen, lambda _: {}), name)
    assert not (tmp_path / "b").exists()
    assert not list(tmp_path.rglob("settings.json"))


SETTINGS = ExpertSettings(1, TrainingRecipe(epochs=1, momentum=0.0, weight_decay=0.0))


def only(folder, name):
    (path,) = folder.rglob(name)
    return path


def cache_of(kind, folder, depth=1, **more):
    world = context(folder, depth=depth)
    return Experts(world, SETTINGS) if kind == "experts" else TeacherPool(world, "convnet", 1, 1)


CACHES = {
    "another network": {"network": {"name": "convnet", "width": 8, "depth": 2}},
    "another data set": {"data": {"name": "mnist"}},
    "ZCA": {"data": {"name": "digits", "zca": True}},
    "another class count": {"data": {"name": "digits", "classes": 3}},
    "another engine": {"engine": "bf16"},
}


@pytest.mark.parametrize("kind", ["experts", "teachers"])
def test_networks_made_for_something_else_are_refused(tmp_path, kind):
    cache_of(kind, tmp_path)
    path, settings = only(tmp_path, f"{kind[:-1]}_000.safetensors"), only(tmp_path, "settings.json")
    made, tensors = settings.read_text(), path.read_bytes()
    for flaw, change in CACHES.items():
        settings.write_text(json.dumps({**json.loads(made), **change}))
        refused(kind, ("settings", flaw), lambda: cache_of(kind, tmp_path), settings, next(iter(change)))
        settings.write_text(made)
        edited(lambda _, about, change=change: about["made_by"].update(change))(path)
        refused(kind, ("file", flaw), lambda: cache_of(kind, tmp_path), path, next(iter(change)))
        path.write_bytes(tensors)
    for flaw, text in NOT_JSON.items():
        damage(settings, text)
        refused(kind, ("settings", flaw), lambda: cache_of(kind, tmp_path), settings)
    settings.write_text(made)
    name = "trajectory" if kind == "experts" else "classifier.weight"
    for flaw, change in {
        "no tensors": lambda t, a: t.clear(),
        "a missing tensor": without(name),
        "another shape": put(name, torch.zeros(2, 5)),
        "one more tensor": put("more", torch.zeros(1)),
    }.items():
        edited(change)(path)
        refused(kind, flaw, lambda: cache_of(kind, tmp_path), path)
        path.write_bytes(tensors)
    for size in (0, 9, 300):
        path.write_bytes(tensors[:size])
        refused(kind, size, lambda: cache_of(kind, tmp_path), path)
    path.write_bytes(tensors)
    before = bytes_of(tmp_path)
    cache_of(kind, tmp_path)
    assert bytes_of(tmp_path) == before


def test_enough_distinct_bad_runs_were_tried():
    if len(TRIED["run"]) == len(WRONG) + len(MTT):  # the whole file ran
        counts = {kind: len(tried) for kind, tried in TRIED.items()}
        print(counts)
        assert sum(counts.values()) >= 150
