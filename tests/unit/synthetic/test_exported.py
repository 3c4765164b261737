"""An exported folder and a run's folder are synthetic sets: what comes back from them, and what eight bits lose."""

import dataclasses
import json
import logging

import pytest
import torch

from cmidd import load_synthetic
from cmidd.data.load import load_dataset
from cmidd.synthetic import pictures
from cmidd.synthetic.exported import export
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.refusals import tree_of

ABOUT = {
    "dataset": "digits",
    "method": "idc",
    "system": "idc+iid",
    "ipc": 3,
    "seed": 4,
    "cmi": {"ratio": 0.3},
    "data": {"name": "digits"},
    "network": {"name": "mlp"},
    "training": {"epochs": 2, "lr": 0.1},
    "optimizer": "carried",
}
GRID = Formation(factor=2, tile_order="columns", shrink="bilinear", stored_as="pixels")


def made(formation=None, **options):
    synthetic = SyntheticSet.from_real(load_dataset("digits", **options), 3, Streams(0)("init"), formation)
    synthetic.about = dict(ABOUT)
    synthetic.syn_lr = torch.tensor(0.0305)
    return synthetic


def in_stages():
    synthetic = made()
    synthetic.begin_stage(*dataclasses.astuple(made().decode()[:7]))
    synthetic.begin_stage(*dataclasses.astuple(made().decode()[:12]))
    synthetic.syn_lr = torch.tensor(0.07)
    return synthetic


SETS = {
    "normalised": made,
    "grids of pixels": lambda: made(GRID),
    "whitened": lambda: made(zca=True),
    "stages": in_stages,
}


@pytest.mark.parametrize("name", SETS)
def test_all_but_the_rounding_comes_back_from_an_exported_folder(tmp_path, name):
    synthetic = SETS[name]()
    export(synthetic, tmp_path / "out")
    loaded = load_synthetic(tmp_path / "out")
    for part in ("classes", "formation", "about", "syn_lr"):
        assert getattr(loaded, part) == getattr(synthetic, part), part
    assert [stage.syn_lr for stage in loaded.finished] == [stage.syn_lr for stage in synthetic.finished]
    assert torch.equal(loaded.labels, synthetic.labels)
    assert torch.equal(loaded.stages, synthetic.stages)
    expected, found = synthetic.transform.tensors(), loaded.transform.tensors()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    torch.testing.assert_close(loaded.pixels(), synthetic.pixels(), rtol=0, atol=1 / 510 + 1e-5)


def test_a_set_that_was_rounded_is_rounded_no_more(tmp_path):
    export(made(GRID), tmp_path / "first")
    export(load_synthetic(tmp_path / "first"), tmp_path / "second")
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (tmp_path / "first", tmp_path / "second")
    )
    assert first == second
    assert len(first) == 32


def test_the_json_is_small_and_says_how_the_set_was_made_and_is_trained_on(tmp_path):
    export(made(zca=True), tmp_path / "out")
    path = tmp_path / "out" / "synthetic.json"
    assert path.stat().st_size < 2000
    said = json.loads(path.read_text())
    assert {key: said[key] for key in ABOUT} == ABOUT
    assert said["preprocessing"] == {"zca": True}
    assert said["syn_lr"] == pytest.approx(0.0305)
    assert said["formation"]["factor"] == 1


def test_what_lies_outside_what_a_picture_can_show_is_told_with_its_share(tmp_path, caplog):
    caplog.set_level(logging.WARNING)  # Whatever a test before has left.
    synthetic = made(GRID)
    export(synthetic, tmp_path / "within")
    assert not caplog.messages
    synthetic = made(zca=True)
    pixels = synthetic.transform.inverse(synthetic.leaf).clamp(0, 1)
    pixels[:3] = 1.5  # of 30 images
    synthetic.leaf = synthetic.transform(pixels)
    with caplog.at_level(logging.WARNING):
        export(synthetic, tmp_path / "beyond")
    (message,) = caplog.messages
    assert message.startswith("10 % of the pixel values lie outside [0, 1] and are clipped")


def test_an_export_is_whole_or_absent_and_overwrites_nothing(tmp_path, monkeypatch):
    synthetic = made()
    (tmp_path / "empty").mkdir()
    export(synthetic, tmp_path / "empty")
    before = tree_of(tmp_path)
    with pytest.raises(SettingError, match="empty: exists and is not empty; choose a new folder"):
        export(synthetic, tmp_path / "empty")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pictures.csv, "writer", full)
    with pytest.raises(OSError, match="No space left"):
        export(synthetic, tmp_path / "a" / "b" / "out")
    assert tree_of(tmp_path) == before


def test_a_runs_folder_stands_for_its_set(tmp_path):
    synthetic, run = made(), tmp_path / "seed0"
    synthetic.save(run / "synthetic.safetensors")
    (run / "settings.json").write_text("{}")
    assert torch.equal(load_synthetic(run).images, synthetic.images)
    (run / "synthetic.safetensors").unlink()
    with pytest.raises(SettingError, match=r"seed0: an unfinished run, at iteration 0, .*the same command goes on"):
        load_synthetic(run)
    for name, iteration in (("checkpoint", 300), ("checkpoint_stage2", 88)):
        tensor_files.write_tensors(run / f"{name}.safetensors", {}, {"iteration": iteration})
    with pytest.raises(SettingError, match=r"an unfinished run, at iteration 388, without synthetic\.safetensors yet"):
        load_synthetic(run)
    (run / "DONE").write_text("")
    with pytest.raises(SettingError, match=r"a finished run whose synthetic\.safetensors is gone; .*overwrite=true"):
        load_synthetic(run)
    with pytest.raises(SettingError, match=r"no synthetic\.safetensors or synthetic\.json in it; give a run's folder"):
        load_synthetic(tmp_path)
