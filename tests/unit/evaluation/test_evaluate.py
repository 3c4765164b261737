"""Cross-architecture evaluation, of our own sets and of the files that the reference repositories write."""

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from cmidd import load_synthetic
from cmidd.data.load import load_dataset
from cmidd.synthetic import exported, foreign
from cmidd.synthetic.pictures import export
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.forked import run_script

CLASSES = tuple(str(digit) for digit in range(10))


def evaluate(*words, cwd=None):
    return run_script("evaluate", *words, cwd=cwd)


@pytest.fixture(scope="module")
def real_set():
    return SyntheticSet.from_real(load_dataset("digits"), 5, Streams(0)("init"))


def saved(folder, synthetic):
    synthetic.about = {
        "data": {"name": "digits"},
        "network": {"name": "convnet", "width": 16, "depth": 1},
        "training": {"epochs": 30},
    }
    synthetic.save(folder / "synthetic.safetensors")
    return folder / "synthetic.safetensors"


def test_our_own_set_needs_no_other_setting_and_no_table_is_overwritten(tmp_path, real_set):
    path = saved(tmp_path, real_set)
    for number in (1, 2):
        done = evaluate(f"synthetic={path}", "networks=[convnet,{name: mlp}]", "repeats=2", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        record = json.loads((tmp_path / f"synthetic.evaluation{number}.json").read_text())
        assert record["training"]["epochs"] == 30
        assert [len(values) for values in record["accuracies"].values()] == [2, 2]
        assert min(record["accuracies"]["convnet"]) > 40
    assert "| convnet |" in (tmp_path / "synthetic.evaluation1.md").read_text()
    written = {f"synthetic.evaluation{number}.{kind}" for number in (1, 2) for kind in ("json", "md")}
    assert {file.name for file in tmp_path.iterdir()} == {"synthetic.safetensors"} | written


def test_files_of_the_references_give_the_accuracies_of_the_same_set_of_ours(tmp_path, real_set):
    network = ["network=mlp", "repeats=1"]
    own = evaluate(f"synthetic={saved(tmp_path, real_set)}", *network, "training.lr=0.02")
    assert own.returncode == 0, own.stderr
    expected = json.loads((tmp_path / "synthetic.evaluation1.json").read_text())["accuracies"]
    torch.save(real_set.images, tmp_path / "images_best.pt")
    torch.save(real_set.labels, tmp_path / "labels_best.pt")
    accuracies = {"ConvNet": [np.float64(12.5)]}
    res = {"data": [[real_set.images, real_set.labels]], "accs_all_exps": accuracies}
    torch.save(res, tmp_path / "res_DM_digits_ConvNet_5ipc.pt")
    plain = [
        "training.epochs=30",
        "+training.schedule=constant",
        "training.lr=0.02",
        "+training.augment={strategy: none}",
        "training.batch=256",
    ]
    for name, words in {
        "images_best.pt": ["dataset=digits", "method=mtt"],
        "res_DM_digits_ConvNet_5ipc.pt": [],
    }.items():
        done = evaluate(f"synthetic={tmp_path / name}", *words, *network, *plain)
        assert done.returncode == 0, done.stderr
        stem = Path(name).stem
        assert json.loads((tmp_path / f"{stem}.evaluation1.json").read_text())["accuracies"] == expected


def test_pictures_and_idc_files_are_pixels_by_label(tmp_path, real_set):
    pixels = real_set.pixels()
    torch.save([pixels, real_set.labels], tmp_path / "data_best.pt")
    found = foreign.read(tmp_path / "data_best.pt", CLASSES, 1)
    assert found.stored_as == "pixels"
    assert torch.equal(found.images, pixels)
    export(pixels, real_set.labels, real_set.classes, tmp_path / "pictures")
    found = foreign.read(tmp_path / "pictures", CLASSES, 1)
    assert torch.equal(found.labels, real_set.labels)
    torch.testing.assert_close(found.images, pixels, rtol=0, atol=1 / 255)


def test_names_of_files_tell_what_they_can():
    assert foreign.guess(Path("a/images_best.pt")) == ("mtt", None)
    assert foreign.guess(Path("res_DSA_CIFAR10_ConvNet_10ipc.pt")) == ("dsa", "cifar10")
    assert foreign.guess(Path("res_DC_FashionMNIST_ConvNet_10ipc.pt")) == ("dc", "fashion_mnist")
    assert foreign.guess(Path("data_best.pt")) == ("idc", None)


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_nothing_in_a_file_is_executed(tmp_path, capsys):
    (tmp_path / "data_best.pt").write_bytes(pickle.dumps(Evil()))
    torch.save([Evil(), Evil()], tmp_path / "data_worse.pt")
    for name in ("data_best.pt", "data_worse.pt"):
        with pytest.raises(SettingError, match="cannot be read as tensors"):
            foreign.read(tmp_path / name, CLASSES, 1)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["synthetic=absent.pt"], "synthetic=absent.pt: no such file or folder"),
        (["synthetic={tmp}/images_best.pt"], "dataset: {tmp}/images_best.pt does not say it; give dataset="),
        (
            ["synthetic={tmp}/images_best.pt", "dataset=digits"],
            "{tmp}/images_best.pt: does not say how its pixels were",
        ),
        (
            ["synthetic={tmp}/images_best.pt", "dataset=digits", "method=mtt"],
            "training.lr: {tmp}/images_best.pt does not",
        ),
        (["synthetic={tmp}/images_best.pt", "networks=[nosuch]"], "networks=nosuch: unknown; choose one of"),
        (["synthetic={tmp}/x", "repeats=0"], "repeats=0: Input should be greater than 0"),
    ],
)
def test_bad_input_is_one_line(tmp_path, words, message):
    torch.save(torch.zeros(10, 1, 8, 8), tmp_path / "images_best.pt")
    torch.save(torch.arange(10), tmp_path / "labels_best.pt")
    done = evaluate(*(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert done.returncode == 2
    assert message.replace("{tmp}", str(tmp_path)) in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_runs_folder_and_an_exported_folder_need_no_other_setting_either(tmp_path, real_set):
    run = saved(tmp_path / "run", dataclasses.replace(real_set, syn_lr=torch.tensor(0.02))).parent
    exported.export(load_synthetic(run), tmp_path / "out")
    for name in ("run", "out"):
        done = evaluate(f"synthetic={name}", "network=mlp", "repeats=1", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    records = [
        json.loads(path.read_text()) for path in (run / "synthetic.evaluation1.json", tmp_path / "out.evaluation1.json")
    ]
    for key in ("synthetic", "training", "images", "training_steps"):
        assert records[0][key] == records[1][key]
    assert records[1]["training"]["lr"] == pytest.approx(0.02)
    assert abs(records[0]["accuracies"]["mlp"][0] - records[1]["accuracies"]["mlp"][0]) < 5
    (tmp_path / "out" / "synthetic.json").unlink()
    plain = evaluate("synthetic=out", cwd=tmp_path)
    assert "method: out does not say it; give method=" in plain.stderr
