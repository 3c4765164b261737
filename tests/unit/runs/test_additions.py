"""Settings without effect on the result: a run with them gives the same bits, and a finished one is not repeated."""

import contextlib
import hashlib
import json
import logging
from types import SimpleNamespace

import pytest
import torch

from cmidd.analysis.results import read_results
from cmidd.analysis.verify import verify
from cmidd.cli.compose import compose
from cmidd.compute.engine import Engine
from cmidd.runs.build import chosen_engine
from cmidd.runs.memory import ways_to_save
from cmidd.utils import files
from cmidd.utils.errors import SettingError
from tests.support.runs import TINY, again, run_here, run_until

BESIDE = {
    "interval": ["evaluation.interval=1"],
    "measure": ["cmi.measure=true", "balance_steps=2", "cmi.pool=2", "cmi.centroids=real"],
    "baselines": ["evaluation.baselines=[random,whole]", "evaluation.whole.epochs=2"],
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A finished run of four iterations; tests that add to it make their own."""
    return run_here(tmp_path_factory.mktemp("plain") / "results", "dm")


def bytes_of(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def content(folder):
    return json.loads((folder / "result.json").read_text())


def said(caplog):
    return [line.getMessage() for line in caplog.records if line.name == "cmidd.runs.additions"]


@pytest.mark.parametrize("name", BESIDE)
def test_the_set_and_its_last_accuracies_are_the_same_bits_with_and_without(tmp_path, plain, name):
    folder = run_here(tmp_path / "results", "dm", *BESIDE[name])
    sets = [(each / "synthetic.safetensors").read_bytes() for each in (folder, plain)]
    assert sets[0] == sets[1]
    assert content(folder)["last"] == content(plain)["last"]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("mtt", []),
        ("idc", []),
        pytest.param("dsa", [], marks=pytest.mark.heavy),
        pytest.param("idm", [], marks=pytest.mark.heavy),
        pytest.param("idc", ["schedule=pdd", "schedule.stages=2", "sampler=dream"], marks=pytest.mark.heavy),
    ],
)
def test_so_they_are_for_every_method(tmp_path, method, words):
    folders = [
        run_here(tmp_path / name, method, *words, *beside)
        for name, beside in (("without", []), ("with", [*BESIDE["interval"], "cmi.measure=true", "cmi.centroids=real"]))
    ]
    assert len({(each / "synthetic.safetensors").read_bytes() for each in folders}) == 1
    without, beside = map(content, folders)
    assert without["last"] == beside["last"]
    assert len(without["evaluations"]) < len(beside["evaluations"])


@pytest.mark.parametrize("name", BESIDE)
def test_an_unfinished_run_goes_on_with_them_to_the_same_bits(tmp_path, plain, name):
    run_until(2, "checkpoint.safetensors", tmp_path / "results", "dm", "checkpoint_seconds=0")
    again(tmp_path / "results", *BESIDE[name])
    (folder,) = (path.parent for path in (tmp_path / "results").rglob("result.json"))
    assert (folder / "synthetic.safetensors").read_bytes() == (plain / "synthetic.safetensors").read_bytes()
    found = content(folder)
    assert found["last"] == content(plain)["last"]
    expected = {"interval": ["2", "3", "4"], "measure": ["4"], "baselines": ["4"]}
    assert list(found["evaluations"]) == expected[name]
    assert found["settings"]["cmi"]["measure"] is (name == "measure")
    assert sorted(found["baselines"]) == (["random", "whole"] if name == "baselines" else [])


def test_baselines_are_measured_for_a_finished_run_and_added_to_its_record(tmp_path):
    folder, fresh = run_here(tmp_path / "results", "dm"), tmp_path / "fresh"
    before, record = bytes_of(folder), content(folder)
    again(tmp_path / "results", "evaluation.baselines=[random]")
    changed = {name for name, own in bytes_of(folder).items() if own != before[name]}
    assert changed == {"result.json", "settings.json"}
    found = content(folder)
    assert found["baselines"] == content(run_here(fresh, "dm", "evaluation.baselines=[random]"))["baselines"]
    assert found["settings"]["evaluation"].pop("baselines") == ["random"]
    assert record["settings"]["evaluation"].pop("baselines") == []
    assert found == {**record, "baselines": found["baselines"]}
    before = bytes_of(folder)
    for words in (["evaluation.baselines=[random]"], []):
        again(tmp_path / "results", *words)
        assert bytes_of(folder) == before


def test_the_whole_data_set_trained_otherwise_is_measured_anew(tmp_path):
    folder = run_here(tmp_path / "results", "dm", "evaluation.baselines=[random,whole]")
    before = content(folder)
    again(tmp_path / "results", "evaluation.baselines=[whole]", "evaluation.whole.epochs=3")
    found = content(folder)
    assert found["baselines"]["random"] == before["baselines"]["random"]
    assert found["baselines"]["whole"] != before["baselines"]["whole"]
    assert found["settings"]["evaluation"]["whole"]["epochs"] == 3
    assert found["settings"]["evaluation"]["baselines"] == ["random", "whole"]


def test_cmi_of_the_last_set_is_what_the_run_itself_would_have_measured(tmp_path, caplog):
    folder = run_here(tmp_path / "results", "dm", "cmi.lambda=0")
    before = bytes_of(folder)
    with caplog.at_level(logging.INFO):
        again(tmp_path / "results", "cmi.measure=true")
    (line,) = said(caplog)
    measured = run_here(tmp_path / "measured", "dm", "cmi.measure=true")
    rows = [files.read_rows(each / "metrics.jsonl") for each in (folder, measured)]
    values = [next(row["cmi"] for row in own if "cmi" in row and row["iteration"] == 4) for own in rows]
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    assert f"CMI of the last set is {values[0]:.4g} nats; its curve" in line
    assert "overwrite=true runs it again (and keeps this run beside)" in line
    assert content(folder)["teachers"] == content(measured)["teachers"]
    after = bytes_of(folder)
    assert {name for name in after if after[name] != before[name]} == {"metrics.jsonl", "result.json", "settings.json"}
    caplog.clear()
    with caplog.at_level(logging.INFO):
        again(tmp_path / "results", "cmi.measure=true")
    assert (said(caplog), bytes_of(folder)) == ([], after)
    again(tmp_path / "results", "cmi.measure=true", "cmi.pool=2")
    (line,) = said(caplog)
    assert line.startswith("cmi.pool=2: CMI was measured with pool=1, and with the other would have needed it")
    assert bytes_of(folder) == after


def test_with_a_weight_there_is_a_curve_already_and_only_ratios_would_have_needed_it(tmp_path, caplog):
    folder = run_here(tmp_path / "results", "dm", "cmi.lambda=1")
    rows = files.read_rows(folder / "metrics.jsonl")
    again(tmp_path / "results", "cmi.lambda=1", "cmi.measure=true")
    (line,) = said(caplog)
    assert line.startswith("cmi.measure=true: the ratio of gradients would have needed it from the start")
    assert files.read_rows(folder / "metrics.jsonl") == rows


def test_a_set_that_is_gone_is_named_and_nothing_changes(tmp_path, caplog):
    folder = run_here(tmp_path / "results", "dm")
    (folder / "synthetic.safetensors").unlink()
    before = content(folder)
    again(tmp_path / "results", "cmi.measure=true")
    (line,) = said(caplog)
    assert f"{folder / 'synthetic.safetensors'} is gone" in line
    assert content(folder) == before


def test_another_interval_is_one_line_where_there_would_be_more_accuracies(tmp_path, caplog):
    folder = run_here(tmp_path / "results", "dm", "evaluation.interval=2")
    before = bytes_of(folder)
    again(tmp_path / "results", "evaluation.interval=1")
    (line,) = said(caplog)
    assert line.startswith("evaluation.interval=1: accuracies on the way would have needed it from the start")
    caplog.clear()
    again(tmp_path / "results", "evaluation.interval=4")
    assert (said(caplog), bytes_of(folder)) == ([], before)


def world_on(device):
    return SimpleNamespace(data=SimpleNamespace(num_classes=10, image_shape=(1, 8, 8), device=torch.device(device)))


def test_compilation_may_change_on_the_way_and_precision_stays(tmp_path):
    settings = compose([*TINY, "method=dm", "engine.compile=false", f"results_root={tmp_path}"])
    kept = settings.folder / "engine.json"
    files.write_json(kept, {"precision": "bf16", "compile": True, "deterministic": False})

    assert chosen_engine(settings, world_on("cpu")) == Engine("bf16", compile=False)
    assert files.read_json(kept)["compile"] is False
    unasked = compose([*TINY, "method=dm", f"results_root={tmp_path}"])
    assert chosen_engine(unasked, world_on("cpu")) == Engine("bf16", compile=False)


@pytest.mark.parametrize("begun", [True, False])
def test_graphs_that_are_asked_for_no_more_are_no_more_and_those_asked_for_later_are(tmp_path, begun):
    words = [*TINY, "method=dm", f"results_root={tmp_path}"]
    settings, otherwise = (compose([*words, f"engine.graphs={each}"]) for each in (begun, not begun))
    kept = settings.folder / "engine.json"
    of_begin = {"precision": "bf16", "compile": False, "deterministic": False, "at_once": "auto", "graphs": begun}
    files.write_json(kept, of_begin)

    assert chosen_engine(settings, world_on("cuda")) == Engine(**of_begin)
    with pytest.raises(SettingError, match=r"cpu has no CUDA graphs") if begun else contextlib.nullcontext():
        assert not chosen_engine(settings, world_on("cpu")).graphs
    assert chosen_engine(otherwise, world_on("cuda")) == Engine(**of_begin | {"graphs": not begun})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["engine.graphs=true"], "give engine.graphs=false, with which this run goes on; or lower one of method."),
        (["engine.at_once=3"], "give engine.at_once=1, with which this run goes on; or lower one of method."),
        (["engine.graphs=true", "engine.at_once=3"], "give engine.graphs=false and engine.at_once=1, with which "),
        ([], "lower one of method."),
    ],
)
def test_memory_that_runs_out_names_first_what_makes_no_other_run(words, said):
    assert ways_to_save(compose(["method=dm", *words])).startswith(said)


def test_a_run_of_a_gpu_goes_on_on_a_cpu_without_what_that_lacks(tmp_path, monkeypatch, caplog):
    """A CPU takes longer for several networks at once, and this one has no compiler."""
    monkeypatch.setattr("cmidd.compute.compilers.lacking", lambda device: "compiler")
    of_gpu = {"precision": "tf32", "compile": True, "deterministic": False, "at_once": "auto", "graphs": False}
    settings = compose([*TINY, "method=dm", f"results_root={tmp_path}"])
    kept = settings.folder / "engine.json"
    files.write_json(kept, of_gpu)

    assert chosen_engine(settings, world_on("cpu")) == Engine("tf32", compile=False, at_once=1)
    assert "begun compiled; no compiler here, so it goes on uncompiled" in caplog.text
    assert files.read_json(kept) == of_gpu  # For the way back.


def test_a_finished_run_of_a_gpu_is_verified_and_added_to_on_a_cpu_without_a_compiler(tmp_path, monkeypatch):
    def compile_nothing(*_, **__):
        raise AssertionError("there is no compiler")

    folder = run_here(tmp_path / "results", "dm")
    files.write_json(folder / "result.json", content(folder) | {"engine": {"compile": True, "at_once": "auto"}})
    monkeypatch.setattr("cmidd.compute.compilers.lacking", lambda device: "compiler")
    monkeypatch.setattr(torch, "compile", compile_nothing)
    (result,) = read_results([tmp_path / "results"])
    assert verify(result, torch.device("cpu"), buffers_root=str(tmp_path / "buffers")).verdict == "equal"
    again(tmp_path / "results", "evaluation.baselines=[random]")
    assert "random" in content(folder)["baselines"]
