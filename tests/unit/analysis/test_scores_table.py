"""The table of scores has a row for each evaluated set and network, and a sentence for each row."""

import csv
import io
import json
import os

import pytest

from cmidd.analysis.compared import read_side
from cmidd.analysis.comparison import Sample
from cmidd.analysis.tables.scores import read_scored, scores_csv, scores_markdown
from cmidd.evaluation.scores import Scores
from tests.support.refusals import refused, script, script_refused

HARD = {"real_hard": [85.0], "syn_hard": [65.0, 66.0], "rdm_hard": [50.0, 51.0]}
FOUND = Scores(
    {
        **HARD,
        "syn_plain": HARD["syn_hard"],
        "rdm_plain": HARD["rdm_hard"],
        "syn_any": [70.0, 72.0],
        "rdm_any": [55, 55],
    },
    "scores_real=85",
    "hard",
    0.01,
)


def evaluated(**more):
    about = {"dataset": "cifar10", "ipc": 10, "seed": 0}
    return {"accuracies": {"convnet": [70.0, 72.0]}, "training": {}, "synthetic": about, **more}


def evaluation(folder, number=1, name="synthetic", **more):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.evaluation{number}.json"
    path.write_text(json.dumps(evaluated(**more)))
    return path


def scored(sentence="convnet"):
    return {"convnet": FOUND.record(sentence)}


def test_a_row_has_the_scores_of_a_set_on_a_network_and_its_sentence(tmp_path):
    run = tmp_path / "cifar10" / "dm" / "ipc10" / "cmi0" / "seed0"
    evaluation(run, scores=scored())
    evaluation(tmp_path / "plain")
    (row,) = read_scored([tmp_path])
    text = scores_markdown([row])
    cells = " | ".join(FOUND.table_cells())
    assert cells.startswith("19.50 ± 0.50 | 16.00 ± 1.00 | ")
    assert f"\n| {run} | convnet | {cells} | 2 |\n" in text
    assert f"\n- {run}, {FOUND.sentence('convnet')}\n" in text
    assert "population standard deviation" in text
    assert "The whole training set: scores_real=85." in text
    (line,) = csv.DictReader(io.StringIO(scores_csv([row])))
    assert (float(line["HLR"]), float(line["HLR_spread"])) == (pytest.approx(0.195), pytest.approx(0.005))
    assert (line["set"], line["mean"], line["n"]) == (str(run), "71.0", "2")


def test_of_several_evaluations_of_a_set_the_last_counts(tmp_path):
    for number in (2, 10, 9):
        evaluation(tmp_path, number, scores=scored(f"number {number}"))
    (row,) = read_scored([tmp_path])
    assert row.sentence.startswith(f"{tmp_path}, number 10:")


def test_what_was_tested_on_a_validation_part_is_no_row_and_no_last_evaluation(tmp_path):
    evaluation(tmp_path, 1, scores=scored("tested"), tested_on="test")
    evaluation(tmp_path, 2, scores=scored("tuning"), tested_on="validation")
    (row,) = read_scored([tmp_path])
    assert row.sentence.startswith(f"{tmp_path}, tested:")


def test_a_set_that_was_evaluated_alone_and_in_a_list_is_one_row_of_the_last(tmp_path, monkeypatch):
    run, kept = tmp_path / "results" / "seed0", tmp_path / "results" / "kept"
    run.mkdir(parents=True)
    for name in (run / "synthetic.safetensors", kept.with_suffix(".safetensors"), kept.with_suffix(".pt")):
        name.touch()
    alone = [evaluation(run, number, scores=scored(f"alone {number}")) for number in (1, 2, 3)]
    typed = {"synthetic": ["kept.pt"]}
    alone.append(evaluation(kept.parent, 1, "kept", scores=scored("kept alone"), settings=typed))
    listed = evaluation(kept.parent, 1, "a")
    words = ("results/seed0", "results/kept.pt", "results/kept.safetensors")
    listed.write_text(json.dumps({"sets": {word: evaluated(scores=scored("listed")) for word in words}}))
    monkeypatch.chdir(tmp_path)

    def rows(later):
        for number, path in enumerate([*alone, listed] if later else [listed, *alone]):
            os.utime(path, (number, number))
        return [(row.name, row.scores["sentence"].partition(":")[0]) for row in read_scored(["results"])]

    assert rows(later=True) == [(word, "listed") for word in sorted(words)]
    assert rows(later=False) == [
        ("results/kept", "kept alone"),
        ("results/kept.safetensors", "listed"),
        ("results/seed0", "alone 3"),
    ]


@pytest.mark.parametrize("name", ["\0", "~nobody/x", "x" * 5000, ""])
def test_a_record_may_call_a_set_what_no_file_is_called(tmp_path, name):
    path = evaluation(tmp_path)
    path.write_text(json.dumps({"sets": {name: evaluated(scores=scored())}}))
    assert [row.name for row in read_scored([tmp_path])] == [name]


def test_several_sets_of_one_evaluation_are_rows_of_their_own(tmp_path):
    path = evaluation(tmp_path)
    path.write_text(json.dumps({"sets": {name: evaluated(scores=scored()) for name in ("b", "a")}}))
    assert [row.name for row in read_scored([tmp_path])] == ["a", "b"]


def test_without_scores_the_line_is_named_that_makes_some(tmp_path):
    evaluation(tmp_path)
    assert "synthetic=<set> scores=true" in scores_markdown(read_scored([tmp_path]))


def test_damaged_scores_are_refused_by_name(tmp_path):
    bad = scored()
    bad["convnet"]["LRS"]["runs"] = [26.9]
    path = evaluation(tmp_path, scores=bad)
    refused("scores", "LRS", lambda: read_scored([tmp_path]), path, "LRS")


def test_the_command_writes_markdown_and_csv_and_evaluates_none_again(tmp_path):
    evaluation(tmp_path / "results" / "x", scores=scored())
    code, out, err = script("table", "table=scores", cwd=tmp_path)
    assert code == 0, err
    assert FOUND.sentence("convnet") in out + err
    assert {path.name for path in (tmp_path / "results").glob("scores.*")} == {"scores.md", "scores.csv"}
    script_refused("scores", "table", ["table=scores", "--verify"], tmp_path, "verify=3")


def test_sets_of_one_evaluation_that_differ_in_their_seeds_are_one_side_of_a_comparison(tmp_path):
    path = evaluation(tmp_path)
    sets = {f"seed{seed}": {**evaluated(), "synthetic": {"dataset": "cifar10", "seed": seed}} for seed in range(3)}
    path.write_text(json.dumps({"sets": sets}))
    assert read_side(str(path), "a", [], None).sample == Sample(((70.0, 72.0),) * 3)
    sets["seed2"]["synthetic"]["dataset"] = "digits"
    path.write_text(json.dumps({"sets": sets}))
    refused(
        "scores", "unlike", lambda: read_side(str(path), "a", [], None), f"a={path}", "dataset=digits", "give one's"
    )
