"""The table says what was run, beside what was published."""

import csv
import io
import json
import statistics
import subprocess
import sys
import time

import pytest

from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.report.table import as_data, only_run
from cmidd.analysis.results import read_results
from cmidd.analysis.tables.latex import latex
from cmidd.analysis.tables.table import make_table, read_layout
from cmidd.analysis.tables.text import as_csv, markdown
from cmidd.utils.errors import SettingError
from tests.support.records import BASELINES, CIFAR, FASHION, LAYOUT, ROOT, baseline, record


def table(folder, strength=None, layout=LAYOUT):
    found = cells(read_results([folder])), lambda *_: strength, read_baselines([folder])
    return make_table(*read_layout(layout), *found)


def by_cell(made):
    return {(row["system"], row["dataset"], int(row["ipc"])): row for row in csv.DictReader(io.StringIO(as_csv(made)))}


def test_the_papers_numbers_are_all_there():
    columns, rows = read_layout(LAYOUT)
    assert len(columns) == 6
    published = {row.name: row.published for row in rows}
    assert published["DM"][0] == (72.8, 0.3)
    assert published["IDC+CMI"][5] == (53.8, 0.2)
    assert published["PDD"][0] is None
    assert sum(value is not None for values in published.values() for value in values) == 78 + 6


def test_a_cell_is_the_mean_over_all_networks_of_all_seeds_beside_the_paper(tmp_path):
    accuracies = [[48.0, 49.0, 48.5], [49.5, 48.6, 48.1]]
    for seed, values in enumerate(accuracies):
        record(tmp_path, "dm", "cifar10", 10, 0.0, seed, values)
    row = by_cell(table(tmp_path))["DM", "cifar10", 10]
    together = accuracies[0] + accuracies[1]
    assert float(row["mean"]) == pytest.approx(statistics.fmean(together))
    assert float(row["spread"]) == pytest.approx(statistics.stdev(together))
    assert (row["n"], row["seeds"]) == ("6", "0 1")
    assert float(row["difference"]) == pytest.approx(statistics.fmean(together) - 48.9)
    assert row["within_two_joint_sd"] == "True"
    text = markdown(table(tmp_path))
    assert "48.62 ± 0.56 (n=6)<br>paper 48.9 ± 0.6, -0.3 ≈" in text
    assert "of the last iterate, after their last epoch" in text
    assert "the best of several tests within a training" in text


def test_what_is_far_from_the_paper_has_no_mark_and_what_cmi_adds_stands_below(tmp_path):
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [40.0, 40.2])
    record(tmp_path, "dm", "cifar10", 10, 8000.0, 0, [43.0, 43.2])
    made = table(tmp_path)
    assert by_cell(made)["DM", "cifar10", 10]["within_two_joint_sd"] == "False"
    assert "+3.0<br>paper +4.0" in markdown(made)
    tex = latex(made)
    assert "DM+CMI & -- & -- & $\\mathbf{43.1}_{\\pm 0.1}$ & --" in tex
    # IDC+CMI is the best published at SVHN; the whole data set is no competitor.
    assert "\\quad published & $\\mathbf{88.5}_{\\pm 0.2}$ & $\\mathbf{92.2}_{\\pm 0.1}$" in tex
    assert "\\mathbf{95.4}" not in tex
    assert "\\quad difference & -- & -- & $+3.0$ & --" in tex
    assert tex.count("\\toprule") == tex.count("\\bottomrule") == 1


@pytest.mark.parametrize(("accuracies", "said"), [([50.0], "True"), ([51.0], ""), ([51.0, 51.2], "False")])
def test_of_a_single_network_nobody_says_that_it_is_not_within_the_spreads(tmp_path, accuracies, said):
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, accuracies)
    assert by_cell(table(tmp_path))["DM", "cifar10", 10]["within_two_joint_sd"] == said


def test_the_caption_names_the_teachers_of_what_is_shown_and_where_they_differ(tmp_path):
    def with_cmi(weight, **cmi):
        return {"settings": {"cmi": {"weight": weight, "teacher": "resnet18", "epochs": 40, **cmi}}}

    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [40.0], **with_cmi(0.0, pool=99))
    assert "Teachers" not in markdown(table(tmp_path))
    record(tmp_path, "dm", "cifar10", 10, 8000.0, 0, [43.0], **with_cmi(8000.0, pool=20))
    assert " Teachers of CMI: 20 resnet18, 40 epochs.\n" in markdown(table(tmp_path))
    assert "\n% teachers of CMI: 20 resnet18, 40 epochs\n" in latex(table(tmp_path))
    of_files = {"pool": 3, "teacher": "torchvision/resnet18", "teachers": {"content": "0"}}
    record(tmp_path, "idc", "svhn", 10, 100.0, 0, [88.0], **with_cmi(100.0, **of_files))
    text = markdown(table(tmp_path))
    assert "20 resnet18, 40 epochs (DM+CMI, CIFAR10 10); 3 torchvision/resnet18, from files (IDC+CMI, SVHN 10)." in text


def test_every_missing_cell_comes_with_its_command_and_unbuilt_systems_stay(tmp_path):
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [40.0])
    rows = by_cell(table(tmp_path))
    assert rows["DM", "cifar10", 10]["command_if_missing"] == ""
    missing = rows["IDC+CMI", "cifar100", 50]["command_if_missing"]
    assert missing == "python scripts/distill.py method=idc dataset=cifar100 ipc=50 cmi=recipe"
    assert rows["Whole data set", "svhn", 10]["published_mean"] == "95.4"
    missing = rows["Whole data set", "svhn", 10]["command_if_missing"]
    assert missing == "python scripts/baselines.py 'evaluation.baselines=[whole]' dataset=svhn"
    unbuilt = by_cell(table(tmp_path, layout=FASHION))["IDC-I", "fashion_mnist", 10]
    assert (unbuilt["published_mean"], unbuilt["command_if_missing"]) == ("85.3", "")


def test_a_plug_in_has_a_row_of_its_own_beside_the_plain_method(tmp_path):
    record(tmp_path, "mtt", "cifar10", 10, 0.0, 0, [60.0])
    staged = {"schedule": {"name": "seqmatch"}}
    record(tmp_path / "staged", "mtt", "cifar10", 10, 0.0, 0, [61.0], settings=staged)
    record(tmp_path / "iid", "dm", "cifar10", 10, 0.0, 0, [50.0], settings={"regularizers": {"iid": {"weight": 1.0}}})
    made = table(tmp_path)
    rows = by_cell(made)
    means = {name: rows[name, "cifar10", 10]["mean"] for name in ("MTT", "SeqMatch", "IID-DM", "DM")}
    assert means == {"MTT": "60.0", "SeqMatch": "61.0", "IID-DM": "50.0", "DM": ""}
    missing = {name: rows[name, "cifar10", 50]["command_if_missing"] for name in ("SeqMatch", "IID-IDM", "DREAM")}
    for name, words in (
        ("SeqMatch", "method=mtt schedule=seqmatch"),
        ("IID-IDM", "method=idm 'regularizer=[iid]'"),
        ("DREAM", "method=idc sampler=dream"),
    ):
        assert missing[name] == f"python scripts/distill.py {words} dataset=cifar10 ipc=50"
    assert "the networks are trained through them, for more steps" in markdown(made)


def test_of_several_weights_the_recipes_is_the_row(tmp_path):
    for weight, value in ((8000.0, 50.0), (1.0, 60.0)):
        record(tmp_path, "dm", "cifar10", 10, weight, 0, [value])
    assert float(by_cell(table(tmp_path, "8000"))["DM+CMI", "cifar10", 10]["mean"]) == 50
    assert by_cell(table(tmp_path, "5"))["DM+CMI", "cifar10", 10]["mean"] == ""


@pytest.mark.parametrize(("recipe", "shown"), [("8000", "50.0"), ("5", "")])
def test_runs_of_other_strengths_than_the_recipes_are_listed_below(tmp_path, recipe, shown):
    record(tmp_path, "dm", "cifar10", 10, 8000.0, 0, [50.0, 50.0])
    weak = record(tmp_path, "dm", "cifar10", 10, 1.0, 0, [60.0, 60.0])
    ratio = {"settings": {"cmi": {"weight": None, "ratio": 0.3}}}
    measured = record(tmp_path, "dm", "cifar10", 10, 0.3, 0, [61.0, 61.0], **ratio)
    made = table(tmp_path, recipe)
    row = by_cell(made)["DM+CMI", "cifar10", 10]
    assert row["mean"] == shown
    lines = [
        f"61.00 ± 0.00 (n=2), cmi.ratio=0.3 where the recipe has cmi.lambda={recipe}: {measured}",
        f"60.00 ± 0.00 (n=2), cmi.lambda=1 where the recipe has cmi.lambda={recipe}: {weak}",
    ]
    assert row["not_shown"].startswith("; ".join(lines))
    assert [each for each in made.not_shown if "50.00" not in each] == [f"DM+CMI, CIFAR10 10: {line}" for line in lines]
    assert ("cmi8000" in row["not_shown"]) == (not shown)
    assert all(f"\n- DM+CMI, CIFAR10 10: {line}\n" in markdown(made) for line in lines)
    assert latex(made).count("cmi.ratio=0.3 where the recipe has") == 1
    (only,) = only_run(made)  # The page's table has the row, also where no run of it is shown.
    assert [each.name for each in only.rows] == ["DM+CMI"]
    assert as_data(only)["not_shown"][1:] == made.not_shown


def test_runs_that_were_tested_on_a_validation_part_are_named_where_they_are_left_out(tmp_path, caplog):
    caplog.set_level("INFO")
    paths = [record(tmp_path, "dm", "cifar10", 10, 0.0, seed, [90.0], tested_on="validation") for seed in (0, 1)]
    assert read_results([tmp_path]) == []
    assert caplog.messages == [f"left out, tested on a validation part and not on the test set: {paths[0]} and 1 more"]


def test_what_cmi_adds_is_over_the_seeds_that_both_have_and_a_mark_says_so(tmp_path):
    for weight, seed, value in ((0.0, 0, 40.0), (0.0, 1, 50.0), (8000.0, 1, 51.0)):
        record(tmp_path, "dm", "cifar10", 10, weight, seed, [value, value + 0.1])
    made = table(tmp_path)
    assert " | +1.0 [1]<br>paper +4.0 | " in markdown(made)
    assert "\n[1]: what CMI adds is over the seeds that both have: 1\n" in markdown(made)
    assert "\\quad difference & -- & -- & $+1.0^{1}$ & --" in latex(made)  # Of all three sets it is +6.0.
    assert float(by_cell(made)["DM+CMI", "cifar10", 10]["cmi_adds"]) == pytest.approx(1.0)
    record(tmp_path, "dm", "cifar10", 10, 8000.0, 0, [41.0, 41.1])
    assert table(tmp_path).notes == []


def test_a_run_that_left_its_recipe_says_so_and_is_not_the_best(tmp_path):
    changed = {"iterations": [240, 20000], "cmi.measure": [True, False]}
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [90.0], differs_from_recipe=changed)
    record(tmp_path, "idm", "cifar10", 10, 0.0, 0, [50.0])
    made = table(tmp_path)
    assert "90.00 ± 0.00 (n=1) [1]" in markdown(made)
    assert "[1]: not the recipe: iterations=240 instead of 20000" in markdown(made)
    assert "$90.0_{\\pm 0.0}^{1}$" in latex(made)
    assert "{\\footnotesize $^{1}$ not the recipe: iterations=240 instead of 20000} \\\\\n" in latex(made)
    assert "IDM & -- & -- & $\\mathbf{50.0}_{\\pm 0.0}$" in latex(made)


def test_a_run_that_was_rolled_back_left_its_recipe(tmp_path):
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [48.0], rollbacks=2)
    assert "[1]: not the recipe: rollbacks=2 instead of 0" in markdown(table(tmp_path))


def test_a_baseline_that_was_tested_on_a_validation_part_does_not_count(tmp_path):
    baseline(tmp_path, "random", "dc", "cifar10", 1, [13.0, 15.0])
    baseline(tmp_path, "random", "dc", "cifar10", 1, [99.0] * 3, tested_on="validation")
    made = table(tmp_path, layout=CIFAR)
    assert (by_cell(made)["Random, as DC evaluates", "cifar10", 1]["mean"], made.not_shown) == ("14.0", [])


def test_tuning_runs_and_replaced_runs_do_not_count(tmp_path):
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [48.0])
    record(tmp_path / "tuning", "dm", "cifar10", 10, 0.0, 0, [99.0], tested_on="validation")
    replaced = record(tmp_path / "old", "dm", "cifar10", 10, 0.0, 0, [99.0]).parent
    replaced.rename(replaced.with_name("seed0.replaced1"))
    assert float(by_cell(table(tmp_path))["DM", "cifar10", 10]["mean"]) == 48


@pytest.mark.ci
def test_two_thousand_records_take_under_five_seconds(tmp_path):
    template = json.loads(record(tmp_path / "t", "dm", "cifar10", 10, 0.0, 0, [48.0]).read_text())
    padding = {"evaluations": {str(at): [50.0] * 5 for at in range(60)}, "settings_of_no_interest": ["x" * 10] * 100}
    for seed in range(2000):
        settings = {**template["settings"], "seed": seed}
        folder = tmp_path / "many" / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({**template, **padding, "settings": settings}))
    command = [sys.executable, str(ROOT / "scripts" / "table.py"), f"results_root={tmp_path / 'many'}"]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert "(n=2000)" in (tmp_path / "many" / "table1.md").read_text()
    # The five seconds are for this work; the rest is the start of Python with torch, which one file takes as well.
    began = time.monotonic()
    command[-1] = f"results_root={tmp_path / 't'}"
    subprocess.run(command, capture_output=True, check=True, cwd=tmp_path)
    assert seconds - (time.monotonic() - began) < 5


def test_baselines_that_were_measured_alone_stand_beside_the_published_ones(tmp_path):
    baseline(tmp_path, "random", "dc", "cifar10", 1, [13.0, 15.0])
    changed = {"evaluation.whole.epochs": [5, 50], "engine.compile": [True, False]}
    baseline(tmp_path, "whole", None, "cifar10", None, [80.0], changed)
    found = by_cell(table(tmp_path, layout=CIFAR))
    random = found["Random, as DC evaluates", "cifar10", 1]
    assert (random["mean"], random["n"], random["within_two_joint_sd"]) == ("14.0", "2", "True")
    assert {found["Whole data set", "cifar10", ipc]["mean"] for ipc in (1, 10, 50)} == {"80.0"}
    said = found["Whole data set", "cifar10", 10]["differs_from_recipe"]
    assert said.endswith("whole.epochs=5 instead of 50")  # The engine changes no result.
    missing = found["Random, as DC evaluates", "cifar100", 10]["command_if_missing"]
    assert missing == "python scripts/baselines.py method=dc 'evaluation.baselines=[random]' dataset=cifar100 ipc=10"
    assert found["Random, as DM evaluates", "cifar10", 1]["mean"] == ""
    assert "$14.0_{\\pm 1.4}" in latex(table(tmp_path, layout=CIFAR))


def test_chosen_images_stand_beside_the_published_ones_and_a_missing_cell_gives_its_line(tmp_path):
    baseline(tmp_path, "herding", "dc", "cifar10", 10, [31.0, 32.0])
    baseline(tmp_path, "kcenter", "dm", "cifar10", 10, [24.0, 26.0])
    found = by_cell(table(tmp_path, layout=BASELINES))
    herding = found["Herding", "cifar10", 10]
    assert (herding["mean"], herding["published_mean"], herding["within_two_joint_sd"]) == ("31.5", "31.6", "True")
    assert found["Forgetting", "cifar100", 50]["published_mean"] == "30.5"
    assert found["K-Center (dc-bench)", "cifar10", 10]["mean"] == "25.0"
    assert found["K-Center", "cifar10", 10]["command_if_missing"] == (
        "python scripts/baselines.py method=dc 'evaluation.baselines=[kcenter]' dataset=cifar10 ipc=10"
    )
    assert {found["Whole data set", "mnist", ipc]["published_mean"] for ipc in (1, 10, 50)} == {"99.6"}


def test_columns_of_one_data_set_that_stand_apart_have_a_title_each_in_latex():
    columns = [{"dataset": name, "ipc": ipc} for name, ipc in (("svhn", 1), ("svhn", 10), ("cifar10", 1), ("svhn", 50))]
    groups = {"a": {"DM": {"published": [[1.0, None], [2.0, None], [3.0, None], [4.0, None]]}}}
    tex = latex(make_table(*read_layout({"columns": columns, "groups": groups}), {}, lambda *_: None))
    of = ("\\multicolumn{2}{c}{SVHN}", "\\multicolumn{1}{c}{CIFAR10}", "\\multicolumn{1}{c}{SVHN}")
    assert f" & {' & '.join(of)} \\\\\n" in tex
    assert "\\begin{tabular}{l cc c c}\n" in tex
    assert "\\cmidrule(lr){2-3}\n\\cmidrule(lr){4-4}\n\\cmidrule(lr){5-5}\nIPC & 1 & 10 & 1 & 50 \\\\\n" in tex


def test_chosen_images_need_the_method_that_evaluates_them():
    rows = {"columns": [{"dataset": "digits", "ipc": 1}], "groups": {"real": {"Herding": {"baseline": "herding"}}}}
    with pytest.raises(SettingError, match=r"table\.groups\.real\.Herding\.method: missing"):
        read_layout(rows)
