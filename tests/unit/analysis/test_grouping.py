"""Tables, figures and the page always come and never mix: what differs is marked and listed below."""

import csv
import io
import json
import logging
import re

import hydra
import pytest
from matplotlib.figure import Figure

from cmidd.analysis.figures.curves import accuracy_curves
from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.report.page import page
from cmidd.analysis.results import read_results
from cmidd.analysis.tables.latex import latex
from cmidd.analysis.tables.table import make_table, read_layout
from cmidd.analysis.tables.text import as_csv, markdown
from cmidd.cli.commands.figures import choose_pair, log_not_shown
from cmidd.cli.compose import CONFIGS
from cmidd.utils.errors import SettingError
from tests.support.records import CIFAR, LAYOUT, baseline, record

CELL = ("dm", "cifar10", 10, "0")
IID = {
    "columns": [{"dataset": "cifar10", "ipc": 10}],
    "groups": {"x": {name: {"method": "dm", "regularizer": ["iid"], "cmi": "+" in name} for name in ("DM", "DM+CMI")}},
}


def run(folder, seed, accuracies, iterations=None, changed=None, **more):
    """A run of the baseline of DM, whose ``iterations`` may be those of a trial."""
    settings = {**({} if iterations is None else {"iterations": iterations}), **more.pop("settings", {})}
    path = record(
        folder, "dm", "cifar10", 10, 0.0, seed, accuracies, settings=settings, differs_from_recipe=changed, **more
    )
    if iterations is not None:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "last": {**content["last"], "iteration": iterations}}))
    return path


def trial(folder, seed, accuracies, iterations):
    return run(folder, seed, accuracies, iterations, {"iterations": [iterations, 300]})


def shown(*roots):
    return cells(read_results(roots))[CELL]


def table(*roots, layout=LAYOUT):
    return make_table(*read_layout(layout), cells(read_results(roots)), lambda *_: None, read_baselines(roots))


def on_page(made, results):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', page(made, results), re.S)[1])


def row(made, system="DM", dataset="cifar10", ipc="10"):
    found = csv.DictReader(io.StringIO(as_csv(made)))
    return next(each for each in found if (each["system"], each["dataset"], each["ipc"]) == (system, dataset, ipc))


def test_three_trials_do_not_outvote_one_published_run(tmp_path):
    trials = [trial(tmp_path / "trials", seed, [90.0 + seed] * 2, 40) for seed in range(3)]
    run(tmp_path / "published", 1, [48.0, 49.0], 300)
    made = table(tmp_path)
    assert float(row(made)["mean"]) == 48.5
    text = markdown(made)
    assert "48.50 ± 0.71 (n=2) [1]<br>" in text
    assert "\n[1]: others are listed below: iterations=40 instead of 300\n" in text
    where = ", ".join(map(str, trials))
    assert f"\n- DM, CIFAR10 10: 91.00 ± 0.89 (n=6), iterations=40 instead of 300: {where}\n" in text
    assert row(made)["not_shown"] == f"91.00 ± 0.89 (n=6), iterations=40 instead of 300: {where}"
    assert row(made)["differs_from_recipe"] == ""


def test_of_groups_that_left_the_recipe_alike_the_longest_is_shown_and_then_that_with_the_most_runs(tmp_path):
    for seed in (0, 1):
        trial(tmp_path / "short", seed, [90.0], 40)
    trial(tmp_path / "long", 0, [48.0], 200)
    cell = shown(tmp_path)
    assert (cell.iterations, [other.why for other in cell.others]) == (200, ["iterations=40 instead of 200"])
    for seed, repeats in ((0, 2), (1, 2), (2, 3)):
        settings = {"evaluation": {"repeats": repeats}, "network": {"width": repeats}}
        run(tmp_path / "many", seed, [50.0], 400, {"network.width": [repeats, 128]}, settings=settings)
    cell = shown(tmp_path)
    assert [result.seed for result in cell.results] == [0, 1]
    assert cell.others[0].why == "evaluation.repeats=3 instead of 2, network.width=3 instead of 2"
    assert len(cell.others) == 3


def test_one_that_changed_less_is_shown_before_a_longer_one(tmp_path):
    run(tmp_path / "a", 0, [50.0], 400, {"iterations": [400, 300], "network.width": [8, 128]})
    trial(tmp_path / "b", 0, [48.0], 40)
    assert shown(tmp_path).accuracies == [48.0]


def test_the_same_run_counts_once_and_one_measured_otherwise_is_marked(tmp_path):
    first = run(tmp_path / "a", 0, [48.0])
    again = run(tmp_path / "b", 0, [48.0])
    cell = shown(tmp_path / "b", tmp_path / "a")
    assert ([result.path for result in cell.results], cell.others) == ([first], ())
    assert shown(tmp_path, tmp_path).accuracies == [48.0]
    again.write_text(again.read_text().replace("48.0", "47.0"))
    text = markdown(table(tmp_path / "b", tmp_path / "a"))
    assert "48.00 ± 0.00 (n=1) [1]<br>" in text
    assert "[1]: others are listed below: seed=0 once more, with other accuracies" in text
    assert f"- DM, CIFAR10 10: 47.00 ± 0.00 (n=1), seed=0 once more, with other accuracies: {again}\n" in text


def test_marks_are_in_latex_and_on_the_page_too(tmp_path):
    run(tmp_path / "published", 1, [48.0], 300)
    path = trial(tmp_path / "a_trial", 0, [90.0], 40)
    made = table(tmp_path)
    tex = latex(made)
    assert "$\\mathbf{48.0}_{\\pm 0.0}\\,{\\approx}^{1}$" in tex
    notes = tex[tex.index("\\bottomrule") :]
    assert "$^{1}$ others are listed below: iterations=40 instead of 300} \\\\\n" in notes
    assert str(path).replace("_", "\\_") in notes
    data = on_page(made, [])
    (on_it,) = data["tables"]
    assert on_it["notes"] == "[1] others are listed below: iterations=40 instead of 300."
    assert on_it["not_shown"][1].endswith(f"iterations=40 instead of 300: {path}")


def test_many_records_of_a_group_are_named_by_the_first_of_them(tmp_path):
    run(tmp_path / "published", 1, [48.0], 300)
    for seed in range(5):
        trial(tmp_path / "trials", seed, [90.0], 40)
    (line,) = table(tmp_path).not_shown
    assert line.count("result.json") == 3
    assert line.endswith(", and 2 more")


def test_settings_without_effect_are_no_difference_in_any_table(tmp_path):
    training = {"evaluation": {"repeats": 1, "interval": 300}, "engine": {"precision": "float32", "compile": False}}
    run(tmp_path / "a", 0, [48.0], settings={**training, "cmi": {"weight": 0.0, "measure": False, "pool": 20}})
    evaluation = {"repeats": 1, "interval": 2, "baselines": ["random"], "whole": {"epochs": 1}}
    engine = {"precision": "float32", "compile": True, "deterministic": True}
    cmi = {"weight": 0.0, "measure": True, "pool": 1, "input": "pixels"}
    changed = {"evaluation.interval": [2, 300], "cmi.pool": [1, 20], "evaluation.whole.epochs": [1, 50]}
    settings = {"evaluation": evaluation, "engine": engine, "cmi": cmi, "balance_steps": 3}
    run(tmp_path / "b", 1, [49.0], changed=changed, settings=settings)
    cell = shown(tmp_path)
    assert ([result.seed for result in cell.results], cell.others, cell.changed) == ([0, 1], (), {})
    engine["precision"] = "bf16"
    record(tmp_path / "c", "dm", "cifar10", 10, 0.0, 2, [50.0], settings=settings)
    (other,) = shown(tmp_path).others
    assert other.why == "engine.precision=bf16 instead of float32"


def test_what_cmi_is_measured_with_matters_where_it_has_a_weight(tmp_path):
    for seed, pool in ((0, 20), (1, 1)):
        cmi = {"weight": 1.0, "teacher": "convnet", "epochs": 40, "pool": pool}
        record(tmp_path, "dm", "cifar10", 10, 1.0, seed, [48.0], settings={"cmi": cmi})
    (cell,) = cells(read_results([tmp_path])).values()
    assert [other.why for other in cell.others] == ["cmi.pool=1 instead of 20"]


def test_a_cell_that_was_not_asked_for_is_neither_marked_nor_listed(tmp_path):
    run(tmp_path / "a", 0, [48.0])
    for seed, repeats in ((0, 1), (1, 2)):
        record(tmp_path, "dm", "digits", 10, 0.0, seed, [90.0] * repeats, settings={"evaluation": {"repeats": repeats}})
    baseline(tmp_path, "random", "dm", "digits", 10, [90.0])
    baseline(tmp_path, "random", "dm", "digits", 10, [91.0, 92.0])
    made = table(tmp_path)
    assert (made.notes, made.not_shown) == ([], [])


def test_a_damaged_record_is_still_refused_by_name(tmp_path):
    path = run(tmp_path, 0, [48.0])
    path.write_text("[]")
    with pytest.raises(SettingError, match=r"content=.*move it away") as error:
        table(tmp_path)
    assert str(path) in str(error.value)


def test_of_baselines_that_disagree_that_of_the_recipe_is_shown_and_the_other_listed(tmp_path):
    baseline(tmp_path, "random", "dc", "cifar10", 1, [13.0, 15.0])
    few = baseline(tmp_path, "random", "dc", "cifar10", 1, [11.0], {"evaluation.repeats": [1, 2]})
    made = table(tmp_path, layout=CIFAR)
    assert row(made, "Random, as DC evaluates", "cifar10", "1")["mean"] == "14.0"
    assert "14.00 ± 1.41 (n=2) [1]" in markdown(made)
    assert "[1]: others are listed below: evaluation.repeats=1 instead of 2" in markdown(made)
    assert made.not_shown == [
        f"Random, as DC evaluates, CIFAR10 1: 11.00 ± 0.00 (n=1), evaluation.repeats=1 instead of 2: {few}"
    ]


def test_a_baseline_of_more_networks_does_not_outvote_that_of_the_recipe(tmp_path):
    baseline(tmp_path, "random", "dc", "cifar10", 1, [13.0, 15.0])
    baseline(tmp_path, "random", "dc", "cifar10", 1, [11.0] * 3, {"evaluation.training.epochs": [1, 300]})
    assert row(table(tmp_path, layout=CIFAR), "Random, as DC evaluates", "cifar10", "1")["mean"] == "14.0"


def test_of_a_group_that_is_not_shown_what_disagrees_in_it_is_listed_too(tmp_path):
    run(tmp_path / "published", 1, [48.0], 300)
    for name, value in (("a", 90.0), ("b", 80.0)):
        trial(tmp_path / name, 0, [value], 40)
    whys = ["iterations=40 instead of 300", "seed=0 once more, with other accuracies"]
    assert [other.why for other in shown(tmp_path).others] == whys


def test_a_baseline_found_twice_counts_once_and_one_of_a_row_is_listed_once(tmp_path):
    for root, values in (("a", [80.0]), ("b", [80.0]), ("c", [79.0])):
        baseline(tmp_path / root, "whole", None, "cifar10", None, values)
    made = table(tmp_path, layout=CIFAR)
    (line,) = made.not_shown
    assert "the same once more, with other accuracies" in line
    assert row(made, "Whole data set", "cifar10", "50")["mean"] == "80.0"


def test_figures_take_the_group_that_is_shown_and_say_what_they_left_out(tmp_path, caplog):
    run(tmp_path / "published", 1, [48.0], 300)
    path = trial(tmp_path / "trial", 0, [90.0], 40)
    record(tmp_path, "dm", "cifar10", 10, 8.0, 0, [50.0])
    by_strength = {key[3]: cell for key, cell in cells(read_results([tmp_path])).items()}

    class Asked:
        method, dataset, ipc, weight, ratio, results_root = "dm", "cifar10", 10, None, None, ["x"]

    assert choose_pair(by_strength, Asked)["DM"].accuracies == [48.0]
    with caplog.at_level(logging.INFO):
        log_not_shown(by_strength)
    (said,) = caplog.records
    assert said.getMessage() == f"left out: cmi=0: 90.00 ± 0.00 (n=1), iterations=40 instead of 300: {path}"


@pytest.mark.parametrize(("root", "folder"), [("results", "results"), ("my runs", "my runs"), ("[b,a]", "b")])
def test_outputs_go_below_the_first_root_unless_told_otherwise(root, folder):
    words = ["method=dm", "dataset=digits"]
    with hydra.initialize_config_dir(str(CONFIGS / "command"), version_base="1.3"):
        for name, given, path in (("report", [], "report.html"), ("figures", words, "figures/dm_digits_ipc10")):
            assert hydra.compose(name, [*given, f"results_root={root}"]).to == f"{folder}/{path}"
            assert hydra.compose(name, [*given, f"results_root={root}", "to=x"]).to == "x"


@pytest.mark.parametrize(
    ("root", "word"), [("results", ""), ("my runs", " 'results_root=my runs'"), ("a", " results_root=a")]
)
def test_the_command_of_a_missing_cell_goes_where_the_others_are(root, word):
    made = make_table(*read_layout(LAYOUT), {}, lambda *_: None, {}, root)
    assert row(made)["command_if_missing"] == f"python scripts/distill.py method=dm dataset=cifar10 ipc=10{word}"
    missing = row(made, "Whole data set", "svhn")["command_if_missing"]
    assert missing == f"python scripts/baselines.py 'evaluation.baselines=[whole]' dataset=svhn{word}"


def test_the_page_shows_a_record_of_an_earlier_version_as_far_as_it_goes(tmp_path):
    run(tmp_path, 0, [48.0])
    data = on_page(table(tmp_path), read_results([tmp_path]))
    assert data["runs"][0]["accuracy"] == "test accuracy 48.00 (n=1) per cent"
    assert data["runs"][0]["facts"] == []


def test_a_curve_is_of_the_runs_that_were_evaluated_on_the_way_where_all_of_them_were(tmp_path):
    for seed, at in enumerate(((2, 4, 6, 10), (4, 8, 10), (10,))):
        run(tmp_path, seed, [48.0], evaluations={str(each): [float(each + seed)] for each in at})
    figure = Figure()
    accuracy_curves({"DM": shown(tmp_path)}).draw(figure)
    axis = figure.axes[0]
    (line,) = axis.lines
    assert line.get_xydata().tolist() == [[4.0, 4.5], [10.0, 10.5]]
    assert line.get_label() == "DM (n=2)"


def for_iterations(folder, weight, value, iterations):
    """DM with so much CMI for so many iterations, which its identity names twice."""
    settings = {"iterations": iterations, "method": {"name": "dm", "iterations": iterations}}
    return record(folder, "dm", "cifar10", 10, weight, 0, [value, value + 0.1], settings=settings)


def test_what_cmi_adds_is_marked_where_the_two_differ_in_more(tmp_path):
    for_iterations(tmp_path, 0.0, 40.0, 1000)
    for_iterations(tmp_path, 8000.0, 43.0, 2000)
    made = table(tmp_path)
    why = "they differ in more than CMI: iterations=2000 instead of 1000"
    assert " | +3.0 [1]<br>paper +4.0 | " in markdown(made)
    assert markdown(made).count(f"\n[1]: {why}\n") == 1
    assert "& $+3.0^{1}$ &" in latex(made)
    assert f"{{\\footnotesize $^{{1}}$ {why}}} \\\\\n" in latex(made)
    assert row(made, "DM+CMI")["differs_in_more_than_cmi"] == why
    assert row(made)["differs_in_more_than_cmi"] == ""
    (on_it,) = on_page(made, [])["tables"]
    assert on_it["notes"] == f"[1] {why}."
    assert on_it["rows"][1]["lines"][1] == [["CMI adds to DM"], ["+3.0 [1]", "paper +4.0"]]


def test_what_cmi_adds_is_in_the_headline_only_where_it_is_cmi_that_adds_it(tmp_path):
    said = []
    for weight, value, iterations in ((0.0, 40.0, 1000), (8000.0, 43.0, 2000), (1.0, 41.0, 1000)):
        for_iterations(tmp_path, weight, value, iterations)
        said.append(on_page(table(tmp_path), read_results([tmp_path]))["story"]["headline"].split("; ")[1:])
    best = "best is DM + CMI 8000: 43.05 ± 0.07 (n=2)"
    assert said[1:] == [[best], [best, "CMI adds +1.0 points, beyond the noise"]]


@pytest.mark.parametrize(
    "runs",
    [[(0.0, 0, 40.0), (0.0, 1, 50.0), (8000.0, 1, 51.0)], [(0.0, 1, 50.0), (8000.0, 1, 51.0), (8000.0, 2, 41.0)]],
)
def test_what_cmi_adds_in_the_headline_is_over_runs_of_the_same_seeds(tmp_path, runs):
    for weight, seed, value in runs:
        record(tmp_path, "dm", "cifar10", 10, weight, seed, [value, value + 0.1])
    headline = on_page(table(tmp_path), read_results([tmp_path]))["story"]["headline"]
    assert headline.split("; ")[2] == "CMI adds +1.0 points, beyond the noise"


def test_the_steps_over_which_its_ratio_is_measured_are_cmis(tmp_path):
    balanced = {"cmi": {"weight": None, "ratio": 0.3}, "balance_steps": 20}
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [40.0], settings={"balance_steps": 10})
    record(tmp_path, "dm", "cifar10", 10, 1.0, 0, [43.0], settings=balanced)
    assert table(tmp_path).notes == []
    iid = {"regularizers": {"iid": {"ratio": 0.1}}}
    record(tmp_path / "iid", "dm", "cifar10", 10, 0.0, 0, [40.0], settings={"balance_steps": 10, **iid})
    record(tmp_path / "iid", "dm", "cifar10", 10, 1.0, 0, [43.0], settings={**balanced, **iid})
    made = table(tmp_path, layout=IID)
    assert made.notes == ["they differ in more than CMI: balance_steps=20 instead of 10"]


def test_rows_of_one_name_stand_beside_each_other(tmp_path):
    run(tmp_path, 0, [40.0, 40.2])
    rows = {"ours": {"DM": {"method": "dm"}}, "paper": {"DM": {"published": [[48.9, 0.6]]}}}
    made = table(tmp_path, layout={"columns": [{"dataset": "cifar10", "ipc": 10}], "groups": rows})
    assert "\n| DM | 40.10 ± 0.14 (n=2) |\n| DM | -<br>paper 48.9 ± 0.6 |\n" in markdown(made)
    found = csv.DictReader(io.StringIO(as_csv(made)))
    assert [(each["mean"], each["published_mean"]) for each in found] == [("40.1", ""), ("", "48.9")]
    tex = latex(made)
    assert "DM & $\\mathbf{40.1}_{\\pm 0.1}$ \\\\\n\\midrule\nDM (published) & $\\mathbf{48.9}_{\\pm 0.6}$ \\\\" in tex
    (on_it,) = on_page(made, [])["tables"]
    assert [each["lines"][0] for each in on_it["rows"]] == [[["DM"], ["40.10 ± 0.14 (n=2)"]]]
