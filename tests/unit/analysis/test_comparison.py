"""What is better and what is inside the noise, of two runs, cells or records, and in the tables."""

import csv
import io
import json
import math
import statistics

import pytest
from scipy import stats

from cmidd.analysis.compared import compared, read_side
from cmidd.analysis.comparison import Sample, difference
from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.results import read_results
from cmidd.analysis.tables.latex import latex
from cmidd.analysis.tables.table import make_table, read_layout
from cmidd.analysis.tables.text import as_csv, markdown
from tests.support.records import LAYOUT, baseline, record
from tests.support.refusals import refused, script

ONE = ((48.0, 49.0), (50.0, 51.0), (46.0, 47.0))
OTHER = ((53.0, 54.0), (55.5, 54.5), (52.0, 53.0))


def test_the_spread_between_sets_and_that_between_networks_are_apart():
    sample = Sample(ONE)
    assert sample.mean == 48.5
    assert sample.between_sets == 2.0
    assert sample.between_networks == pytest.approx(math.sqrt(0.5))
    assert sample.apart == "± 2.00 between 3 sets, ± 0.71 between 2 networks of a set"
    assert Sample(((40.0, 42.0),)).apart == "1 set, ± 1.41 between 2 networks of it"
    assert Sample(((40.0,), (42.0,))).apart == "± 1.41 between 2 sets, 1 network of a set"
    assert Sample(((40.0, 42.0), (41.0, 42.0, 43.0))).apart.endswith("2 to 3 networks of a set")


def test_networks_are_pooled_by_how_many_a_set_has_and_sets_count_alike():
    sample = Sample(((40.0, 42.0), (41.0, 44.0, 47.0)))
    assert sample.mean == 42.5
    assert sample.between_networks == pytest.approx(math.sqrt((1 * 2.0 + 2 * 9.0) / 3))


def welch(one, other):
    """Welch's test, from its formulas: standard error and p."""
    parts = [statistics.variance(values) / len(values) for values in (one, other)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(v) - 1) for part, v in zip(parts, (one, other), strict=True))
    error = math.sqrt(sum(parts))
    t = (statistics.fmean(other) - statistics.fmean(one)) / error
    return error, 2 * float(stats.t.sf(abs(t), freedom))


def test_the_standard_error_and_welchs_test_are_over_the_means_of_sets():
    found = difference(Sample(ONE), Sample(OTHER))
    error, p = welch([48.5, 50.5, 46.5], [53.5, 55.0, 52.5])
    assert found.value == pytest.approx(5.1667, abs=1e-4)
    assert (found.noise.standard_error, found.noise.p) == (pytest.approx(error), pytest.approx(p))
    assert (found.over, found.counts, found.inside_noise) == ("sets", (3, 3), False)
    assert (
        found.sentence("A", "B")
        == f"B is better by 5.17 points (standard error {error:.2f} over 3 and 3 sets, p = {p:.2g})"
    )
    assert difference(Sample(OTHER), Sample(ONE)).sentence("A", "B").startswith("A is better by 5.17 points")


def test_with_one_set_of_either_it_is_over_networks():
    found = difference(Sample(ONE), Sample(OTHER[:1]))
    error, p = welch([a for networks in ONE for a in networks], OTHER[0])
    assert (found.over, found.counts) == ("networks", (6, 2))
    assert (found.noise.standard_error, found.noise.p) == (pytest.approx(error), pytest.approx(p))


def test_of_one_network_nothing_is_said_of_the_noise():
    found = difference(Sample(((48.0,),)), Sample(OTHER))
    assert (found.noise, found.inside_noise) == (None, None)
    assert "its noise is unknown: one network; measure more" in found.sentence("A", "B")


@pytest.mark.parametrize(
    ("values", "inside"),
    [
        ((48.0, 52.0, 50.0), True),
        ((50.0, 50.0, 50.0), True),
        ((53.0, 53.1, 52.9), False),
        ((53.0, 53.0, 53.0), False),  # Without any spread, where Welch's test would divide by it.
    ],
)
def test_a_difference_below_two_standard_errors_is_called_noise(values, inside):
    one = Sample(tuple((value,) for value in (50.0, 50.0, 50.0)))
    found = difference(one, Sample(tuple((value,) for value in values)))
    assert found.inside_noise is inside
    assert found.sentence("A", "B").startswith("inside the noise") is inside


def test_two_standard_errors_of_two_sets_are_not_enough_where_p_is_large():
    found = difference(Sample(((48.0,), (49.0,))), Sample(((51.0,), (50.0,))))
    assert found.value > 2 * found.noise.standard_error
    assert (found.noise.p > 0.05, found.inside_noise) == (True, True)


@pytest.fixture
def root(tmp_path):
    for seed, values in enumerate(ONE):
        record(tmp_path, "dm", "cifar10", 10, 0.0, seed, list(values))
    for seed, values in enumerate(OTHER):
        record(tmp_path, "dm", "cifar10", 10, 8000.0, seed, list(values))
    return tmp_path


def side(word, root, network=None):
    return read_side(str(word), "b", [str(root)], network)


def test_a_cell_a_folder_of_seeds_a_run_and_its_record_are_sides(root):
    folder = root / "cifar10" / "dm" / "ipc10" / "cmi8000"
    for word in (folder, "dm:cifar10:10:8000", "dm:cifar10:10:8e3"):
        assert side(word, root).sample == Sample(OTHER)
    assert side("dm:cifar10:10", root).sample == side("dm:cifar10:10:0", root).sample == Sample(ONE)
    for word in (folder / "seed1", folder / "seed1" / "result.json"):
        assert side(word, root).sample == Sample(OTHER[1:2])


def test_a_network_on_other_random_images_is_a_set_of_its_own(root):
    path = baseline(root, "random", "dm", "cifar10", 10, [20.0, 22.0])
    assert side(path, root).sample == Sample(((20.0,), (22.0,)))
    path = baseline(root, "whole", None, "cifar10", None, [80.0, 82.0])
    assert side(path, root).sample == Sample(((80.0, 82.0),))


def test_networks_of_chosen_images_are_by_the_set_that_they_were_trained_on(root):
    """Accuracy r is of set r modulo ``sets``."""
    path = baseline(root, "kmeans", "dm", "cifar10", 10, [20.0, 30.0, 22.0, 32.0, 24.0], sets=2)
    assert side(path, root).sample == Sample(((20.0, 22.0, 24.0), (30.0, 32.0)))
    path = baseline(root, "herding", "dm", "cifar10", 10, [20.0, 22.0])
    assert side(path, root).sample == Sample(((20.0, 22.0),))


def evaluation(folder, **accuracies):
    path = folder / "synthetic.evaluation1.json"
    about = {"dataset": "cifar10", "ipc": 10, "network": {"name": "convnet", "width": 128}}
    training = {"epochs": 300, "batch": 64}  # Of the batch a record of ours here says nothing, so it is no difference.
    path.write_text(json.dumps({"accuracies": accuracies, "training": training, "synthetic": about}))
    return path


def test_of_an_evaluation_the_network_is_named_where_there_are_several(root):
    path = evaluation(root, convnet=[50.0, 51.0])
    assert side(path, root).sample == Sample(((50.0, 51.0),))
    path = evaluation(root, convnet=[50.0, 51.0], mlp=[30.0])
    assert side(path, root, "mlp").sample == Sample(((30.0,),))
    assert side(path, root, "mlp").protocol["network"] == {"name": "mlp"}  # The others are its run's own's.
    assert side(path, root, "convnet").protocol["network"] == {"name": "convnet", "width": 128}
    for network in (None, "vgg11"):
        refused("compare", network, lambda n=network: side(path, root, n), "network=", "convnet, mlp")


def test_both_sides_the_difference_and_a_sentence_are_said(root):
    lines = compared(side("dm:cifar10:10:0", root), side("dm:cifar10:10:8000", root))
    apart = "± 2.00 between 3 sets, ± 0.71 between 2 networks of a set"
    assert lines[0] == f"A: DM, cifar10, 10 images per class, seed 0, 1, 2: 48.50 ({apart})"
    assert lines[1].startswith("B: DM with CMI 8000, cifar10, 10 images per class, seed 0, 1, 2: 53.67 (")
    assert lines[2].startswith("B - A: +5.17 points, standard error 1.36 over 3 and 3 sets, p = 0.0")
    assert lines[3].startswith("B is better by 5.17 points (")
    alone = compared(side("dm:cifar10:10:0", root), side(root / "cifar10/dm/ipc10/cmi8000/seed0", root))
    assert any("it holds for these sets, not for others" in line for line in alone)


def test_cells_of_a_system_with_the_same_seeds_are_compared_over_pairs_too(root):
    lines = compared(side("dm:cifar10:10:0", root), side("dm:cifar10:10:8000", root))
    (line,) = [line for line in lines if line.startswith("Over 3 pairs of the same seed")]
    gains = [53.5 - 48.5, 55.0 - 50.5, 52.5 - 46.5]
    error = statistics.stdev(gains) / math.sqrt(3)
    p = 2 * float(stats.t.sf(statistics.fmean(gains) / error, 2))
    assert f"+5.17 points, standard error {error:.2f}, p = {p:.2g} by the paired t test, beyond the noise." in line
    for other in ("idm", "dm"):
        record(root / other, other, "cifar10", 10, 1.0, 0, [50.0])
        record(root / other, other, "cifar10", 10, 1.0, 5, [51.0])
        record(root / other, other, "cifar10", 10, 1.0, 6, [52.0])
        unlike = compared(side("dm:cifar10:10:0", root), side(f"{other}:cifar10:10:1", root / other))
        assert not any("pairs" in line for line in unlike)
    for seed in range(3):
        record(root / "noise", "dm", "cifar10", 10, 1.0, seed, [50.0 + seed], settings={"init": "noise"})
    unlike = compared(side("dm:cifar10:10:0", root), side("dm:cifar10:10:1", root / "noise"))
    assert not any("pairs" in line for line in unlike)


def test_protocols_that_differ_are_named(root):
    networks = {"network": {"name": "convnet", "width": 64}, "evaluation": {"training": {"epochs": 1000}}}
    record(root / "more", "dm", "cifar10", 10, 0.0, 0, [40.0, 41.0], settings=networks)
    path = evaluation(root, convnet=[50.0, 51.0])
    lines = compared(side("dm:cifar10:10", root / "more"), side(path, root))
    (line,) = [line for line in lines if line.startswith("Not measured alike")]
    assert line.endswith("B has network.width=128 instead of 64, training.epochs=300 instead of 1000")


def test_a_test_that_was_chosen_and_the_last_are_not_measured_alike(root):
    path = evaluation(root, convnet=[50.0, 51.0])
    last = side(path, root)
    chosen = {"evaluation": {"repeats": 2, "tests": 10, "selection": "held_out"}}
    path.write_text(json.dumps({**json.loads(path.read_text()), **chosen}))
    (line,) = [line for line in compared(last, side(path, root)) if line.startswith("Not measured alike")]
    assert (
        line == "Not measured alike, which may be the difference: B has evaluation.selection=held_out instead of last"
    )
    assert not [line for line in compared(*[side(path, root)] * 2) if line.startswith("Not measured alike")]


def test_results_on_a_validation_part_are_called_that(tmp_path):
    paths = [
        str(record(tmp_path, "dm", "cifar10", 10, weight, 0, [50.0, 51.0 + weight], tested_on="validation"))
        for weight in (0.0, 1.0)
    ]
    first, second, *_ = compared(*(side(path, tmp_path) for path in paths))
    assert first.startswith("A: DM, cifar10, 10 images per class, seed 0, on the validation part: 50.50 (")
    assert ", on the validation part: 51.00 (" in second


def test_what_is_left_out_of_a_cell_is_said(root):
    record(
        root / "trial",
        "dm",
        "cifar10",
        10,
        0.0,
        3,
        [90.0],
        settings={"iterations": 5},
        differs_from_recipe={"iterations": [5, 300]},
    )
    found = side("dm:cifar10:10:0", root)
    assert found.sample == Sample(ONE)
    assert found.notes[0].startswith("left out, as in the tables: 90.00")


def test_unlike_data_and_numbers_of_images_are_refused(root):
    for dataset, ipc in (("digits", 10), ("cifar10", 50)):
        record(root, "dm", dataset, ipc, 0.0, 0, [90.0])
        pair = side("dm:cifar10:10", root), side(f"dm:{dataset}:{ipc}", root)
        refused("compare", (dataset, ipc), lambda p=pair: compared(*p), "instead of", "choose two of the same")
    tuned = record(root / "tuning", "dm", "cifar10", 10, 0.0, 0, [90.0], tested_on="validation")
    pair = side("dm:cifar10:10", root), side(tuned, root)
    refused("compare", "validation", lambda: compared(*pair), "validation instead of test")
    path = evaluation(root, convnet=[50.0, 51.0])
    path.write_text(json.dumps({**json.loads(path.read_text()), "tested_on": "validation"}))
    pair = side("dm:cifar10:10", root), side(path, root)
    refused("compare", "validation of a set", lambda: compared(*pair), "validation instead of test")
    contents = [
        side(record(root / name, "dm", "folder", 10, 0.0, 0, [9.0], settings={"data": {"content": name}}), root)
        for name in ("one", "other")
    ]
    refused("compare", "content", lambda: compared(*contents), "another content", "other instead of one")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dm:cifar10:10:7", "there are dm:cifar10:10:0, dm:cifar10:10:8000"),
        ("dm:cifar10", "neither a file or folder"),
        ("absent", "neither a file or folder"),
        ("dm:cifar10:ten", "neither a file or folder"),
        (".", "holds runs of 2 cells, dm:cifar10:10:0, dm:cifar10:10:8000"),
        ("empty", "no record of a finished run"),
        ("cifar10/dm/ipc10/cmi0/note.json", "no record that says accuracies"),
    ],
)
def test_a_word_that_is_no_side_is_refused_with_what_there_is(root, monkeypatch, word, said):
    (root / "empty").mkdir()
    (root / "cifar10/dm/ipc10/cmi0/note.json").write_text("{}")
    monkeypatch.chdir(root)
    refused("compare", word, lambda: side(word, root), f"b={word}", said)


def test_the_command_takes_cells_and_folders(root):
    folder = root / "cifar10" / "dm" / "ipc10" / "cmi8000"
    code, out, err = script("compare", "a=dm:cifar10:10:0", f"b={folder}", f"results_root={root}", cwd=root)
    assert code == 0, err
    assert "B is better by 5.17 points (standard error 1.36 over 3 and 3 sets" in out + err


def table(folder):
    found = cells(read_results([folder])), lambda *_: None, read_baselines([folder])
    return make_table(*read_layout(LAYOUT), *found)


def row(made, system):
    found = csv.DictReader(io.StringIO(as_csv(made)))
    return next(each for each in found if (each["system"], each["dataset"], each["ipc"]) == (system, "cifar10", "10"))


def test_a_table_has_both_spreads_and_says_of_what_cmi_adds_where_it_is_noise(root):
    made = table(root)
    assert "<br>± 2.00 between 3 sets, ± 0.71 between 2 networks of a set |" in markdown(made)
    assert "+5.2<br>paper +4.0" in markdown(made)
    assert "a difference is inside the noise below 2 standard errors" in markdown(made)
    assert "$+5.2$" in latex(made)
    found = row(made, "DM+CMI")
    assert (found["sets"], found["cmi_adds_inside_noise"]) == ("3", "False")
    assert float(row(made, "DM")["spread_between_sets"]) == 2
    assert float(row(made, "DM")["spread_between_networks"]) == pytest.approx(math.sqrt(0.5))
    assert float(found["cmi_adds_standard_error"]) == pytest.approx(1.364, abs=1e-3)


def test_what_cmi_adds_inside_the_noise_is_called_that_in_every_form(tmp_path):
    for seed, values in enumerate(ONE):
        record(tmp_path, "dm", "cifar10", 10, 0.0, seed, list(values))
        record(tmp_path, "dm", "cifar10", 10, 8.0, seed, [value + 0.5 for value in values])
    made = table(tmp_path)
    assert "+0.5, inside the noise of sets<br>paper +4.0" in markdown(made)
    assert "$+0.5$ (noise)" in latex(made)
    assert row(made, "DM+CMI")["cmi_adds_inside_noise"] == "True"


def test_a_table_of_single_sets_says_whose_noise_it_is(tmp_path):
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [48.0, 49.0])
    record(tmp_path, "dm", "cifar10", 10, 8.0, 0, [48.5, 49.5])
    made = table(tmp_path)
    assert "+0.5, inside the noise of networks" in markdown(made)
    assert "between" not in markdown(made).partition("\n\n")[0]
