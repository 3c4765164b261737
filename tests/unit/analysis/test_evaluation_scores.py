"""An evaluation with scores: what it writes, what it measures once for all, and what has no scores."""

import numpy as np
import pytest
import torch

from cmidd.analysis.compared import read_side
from cmidd.analysis.tables.scores import read_scored
from cmidd.cli.compose import compose
from cmidd.data.load import load_dataset
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.evaluations import evaluated, subject
from tests.support.refusals import refused, script

SHORT = ["evaluation.repeats=2", "scores=true", "evaluation.whole.epochs=1"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(path, soft=None, **training):
    data = load_dataset("digits")
    synthetic = SyntheticSet.from_real(data, 2, Streams(0)("init"))
    synthetic.soft_labels = soft
    synthetic.about = {
        "dataset": "digits",
        "method": "dm",
        "ipc": 2,
        "seed": 0,
        "data": compose(["dataset=digits"]).dataset,
        "network": {"name": "mlp"},
        "training": {"epochs": 3, "augment": {"strategy": "flip"}, **training},
    }
    synthetic.save(path)
    return path


def test_the_table_and_the_record_have_scores_and_a_sentence_and_the_accuracies_stay(tmp_path):
    path = saved(tmp_path / "set.safetensors")
    plain, _ = evaluated(f"synthetic={path}", "evaluation.repeats=2")
    record, text = evaluated(f"synthetic={path}", *SHORT, "scores_real=95.5")
    scores = record["scores"]["mlp"]
    assert plain["accuracies"] == record["accuracies"] == {"mlp": scores["accuracies"]["syn_any"]}
    assert "scores" not in plain
    assert scores["accuracies"]["real_hard"] == [95.5]
    assert "| network | accuracy | HLR | IOR | LRS | ARS |" in text
    assert scores["sentence"].startswith("mlp: ")
    assert scores["sentence"] in text
    assert "The whole training set: scores_real=95.5, as given." in text
    assert not list(tmp_path.rglob("*_whole_*"))
    (row,) = read_scored([tmp_path])
    assert (row.network, row.n) == ("mlp", 2)
    side = read_side(str(tmp_path / "set.evaluation2.json"), "a", [], None)
    assert (side.dataset, side.ipc) == ("digits", 2)


def test_the_whole_data_set_is_measured_once_for_evaluations_and_for_baselines(tmp_path):
    words = ["method=dm", "dataset=digits", "network=mlp", "ipc=2", "evaluation.whole.epochs=1"]
    code, _, err = script("baselines", *words, "evaluation.repeats=2", "evaluation.baselines=[whole]", cwd=tmp_path)
    assert code == 0, err
    (kept,) = tmp_path.rglob("digits_whole_*.json")
    before = kept.stat().st_mtime_ns
    record, _ = evaluated(f"synthetic={saved(tmp_path / 'set.safetensors')}", *SHORT)
    assert record["scores"]["mlp"]["real_hard_from"] == "2 networks trained on it by evaluation.whole"
    assert len(record["scores"]["mlp"]["accuracies"]["real_hard"]) == 2
    assert list(tmp_path.rglob("digits_whole_*.json")) == [kept]
    assert kept.stat().st_mtime_ns == before


def test_beside_a_set_with_soft_labels_random_images_have_those_of_the_teachers_that_are_named(tmp_path):
    soft = SoftLabels(torch.randn(20, 10, generator=torch.Generator().manual_seed(0)), "logits")
    path = saved(tmp_path / "set.safetensors", soft, loss="kl")
    refused("scores", "soft", lambda: evaluated(f"synthetic={path}", *SHORT), "cmi.teacher=", "cmi.teachers=")
    teachers = ["cmi.teacher=mlp", "cmi.pool=2", "cmi.epochs=1"]
    record, _ = evaluated(f"synthetic={path}", *SHORT, "scores_real=95", *teachers)
    scores = record["scores"]["mlp"]
    assert scores["labels"] == "set"
    assert scores["accuracies"]["rdm_plain"] != scores["accuracies"]["rdm_hard"]
    assert len(list(tmp_path.rglob("teacher_*.safetensors"))) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["scores=false", "scores_real=95"], ["scores_real=95", "give scores=true"]),
        (["networks=[mlp,{name: convnet, width: 8}]", "scores_real=95"], ["scores_real=95", "one network"]),
        (["cmi.teacher=mlp"], ["cmi.teacher=mlp", "hard labels"]),
        (["scores_real=101"], ["scores_real=101"]),
        (["evaluation.selection=held_out", "evaluation.tests=2"], ["evaluation.selection=held_out"]),
    ],
)
def test_what_has_no_scores_is_refused_before_anything_is_trained(tmp_path, words, said):
    path = saved(tmp_path / "set.safetensors")
    refused("scores", words, lambda: evaluated(f"synthetic={path}", *SHORT, *words), *said)


def test_what_is_kept_of_anothers_whitening_is_not_taken_for_the_plain_data_set(tmp_path):
    images, labels = np.zeros((10, 8, 8, 1), np.float32), np.eye(10, dtype=np.float32)
    np.savez(tmp_path / "kip_digits_ConvNet3_ssize10_zca_nol_noaug_ckpt1000.npz", images=images, labels=labels)
    found = subject(tmp_path / "kip_digits_ConvNet3_ssize10_zca_nol_noaug_ckpt1000.npz", "dataset=digits", "method=dm")
    assert found.subject.given["whitening"] == "kip"
    assert "whitening" not in subject(saved(tmp_path / "set.safetensors")).subject.given
