"""What is kept as evidence can be read, evaluated and put into a table by a stranger."""

import importlib.util
import json
import shutil

import pytest

from cmidd import load_synthetic
from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.results import read_results
from cmidd.utils.errors import SettingError
from tests.support.golden import GOLDEN
from tests.support.records import ROOT, baseline

BEFORE = GOLDEN / "before" / "results"


@pytest.fixture
def evidence(tmp_path, monkeypatch):
    """``tools/evidence.py`` as a module that keeps things in another folder."""
    spec = importlib.util.spec_from_file_location("evidence", ROOT / "tools" / "evidence.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "EVIDENCE", tmp_path / "kept")
    return module


def test_records_small_sets_and_baselines_are_kept(evidence, tmp_path):
    baseline(tmp_path, "random", "dc", "cifar10", 1, [13.0, 15.0])
    evidence.main([str(BEFORE), str(tmp_path)])
    kept = tmp_path / "kept"
    assert cells(read_results([kept])).keys() == cells(read_results([BEFORE])).keys()
    assert read_baselines([kept])["random", "dc", "cifar10", 1].accuracies == [13.0, 15.0]
    for path in kept.glob("*.result.json"):
        record = json.loads(path.read_text())
        assert load_synthetic(path.with_name(path.name.replace("result.json", "safetensors"))).classes
        assert "data.root=" not in record["command"]


def test_a_large_set_is_not_kept(evidence, tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "MOST_SET_BYTES", 100)
    evidence.main([str(BEFORE)])
    assert list((tmp_path / "kept").glob("*.result.json"))
    assert not list((tmp_path / "kept").glob("*.safetensors"))


def test_another_run_of_the_same_name_is_not_written_over(evidence, tmp_path):
    evidence.main([str(BEFORE)])
    kept = {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    changed = tmp_path / "changed"
    shutil.copytree(BEFORE, changed)
    path = next(changed.rglob("result.json"))
    record = json.loads(path.read_text())
    record["settings"]["cmi"]["pool"] += 1
    path.write_text(json.dumps(record))
    with pytest.raises(SettingError, match=r"keeps a run of cmi.pool=\d+, and this one has \d+; give --suffix"):
        evidence.main([str(changed)])
    assert all(path.read_bytes() == content for path, content in kept.items())
    evidence.main([str(changed)], "more")
    assert [path.name for path in (tmp_path / "kept").glob("*_more.result.json")]
