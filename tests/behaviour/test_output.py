"""What a run tells: what will happen, how it goes, what it came to; all of it in its folder's log."""

import logging
import re
from dataclasses import replace

import pytest

from cmidd.buffers import experts, teachers
from cmidd.cli.compose import compose
from cmidd.compute import compiling
from cmidd.compute.engine import Engine
from cmidd.data.load import load_dataset
from cmidd.runs.build import make_context
from cmidd.runs.outlook import outlook
from cmidd.runs.record import read_record
from cmidd.runs.report import in_parts, report
from cmidd.utils import clock
from tests.support.refusals import script
from tests.support.runs import TINY, TINY_METHOD, result, run_here, run_until

MTT = [*TINY, *TINY_METHOD["mtt"], "cmi.lambda=1", "evaluation.baselines=[random]"]


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What a run of MTT with CMI says on its console, and its folder."""
    place = tmp_path_factory.mktemp("told")
    code, out, err = script("distill", *MTT, cwd=place)
    assert code == 0, err
    return out, result(place, "mtt", 1)


def test_what_will_happen_is_said_before_it_does_and_how_good_what_is_trained_became(told):
    out, _ = told
    for pattern in (
        r"mtt on digits with CMI \(1\), seed 0:",
        r"data +1438 training images 1x8x8 of 10 classes \(139 to 146 of a class\), tested on 359 test images",
        r"experts +0 of 2 there, 2 to train for 1 epochs each, into buffers/experts/digits_",
        r"teachers +0 of 1 there, 1 to train for 1 epochs each, into buffers/teachers/digits_",
        r"synthetic +100 images, 10 of each class, from real ones",
        r"distillation +4 iterations",
        r"evaluation +once 2 networks of 2 epochs",
        r"baseline +random, to measure, 2 networks of 2 epochs",
        r"computed +on cpu, float32, not compiled",
        r"folder +results/digits/mtt/ipc10/cmi1/seed0",
        r"expert 1/2: \d+\.\d\d per cent on test",
        r"teacher 1/1: \d+\.\d\d per cent on test",
        r"after iteration 4: accuracy on test \d+\.\d\d",
    ):
        assert re.search(pattern, out), pattern
    assert out.index("2 to train") < out.index("expert 1/2:")


def test_the_log_in_the_folder_holds_all_of_it_also_from_before_the_run_was_admitted(told):
    out, folder = told
    log = (folder / "distill.log").read_text()
    said = [line for line in out.splitlines() if line.strip()]
    assert said.index("reading digits") < next(n for n, line in enumerate(said) if line.startswith("expert 1/2:"))
    assert [line for line in said if line not in log] == []
    assert "time: " in log or "accuracy on test" in log


def test_the_best_row_is_left_out_where_the_best_is_the_last(told, caplog):
    assert "best on test" not in told[0]
    caplog.set_level(logging.INFO)
    record = read_record(told[1] / "result.json")
    report(told[1], replace(record, best={"iteration": 2, "accuracies": [99.0]}))
    assert "best on test (iteration 2)           99.00 (n=1)" in caplog.text


def test_a_resumed_run_appends_to_its_log_and_an_error_of_it_is_there_too(tmp_path):
    words = [*TINY, *TINY_METHOD["dm"], "evaluation.baselines=[]", "method.lr_img=1e30", "method.iterations=20"]
    for _ in range(2):
        assert script("distill", *words, cwd=tmp_path)[0] == 2
    log = (result(tmp_path, "dm", 0) / "distill.log").read_text()
    assert log.count("dm on digits, seed 0:") == 2
    assert log.count("ERROR cmidd.cli.run_log: method.lr_img=1e+30") == 2
    assert "Traceback" not in log


def test_a_resumed_run_says_what_is_done(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run_until(2, "checkpoint.safetensors", tmp_path / "results", "dm", "evaluation.interval=2")
    caplog.clear()
    run_here(tmp_path / "results", "dm", "evaluation.interval=2")
    assert "4 iterations, of which 2 are done" in caplog.text


def test_a_sweep_ends_with_its_runs_and_what_to_do_next(tmp_path):
    words = [*TINY, *TINY_METHOD["dm"], "evaluation.baselines=[]", "results_root=there", "seed=0,1", "-m"]
    code, out, err = script("distill", *words, cwd=tmp_path)
    assert code == 0, err
    end = out[out.index("2 runs: 2 done, 0 failed") :].splitlines()
    assert re.fullmatch(r" +accuracy +time  run", end[1])
    assert [re.fullmatch(r" +\d+\.\d\d +\d+ s  (seed=\d)", line)[1] for line in end[2:4]] == ["seed=0", "seed=1"]
    assert end[4] == "next: python scripts/table.py table=digits results_root=there"


def test_compiling_is_said_once_and_counted_apart(caplog):
    from torch._dynamo.callback import CallbackTrigger, callback_handler

    caplog.set_level(logging.INFO)
    clock.restart()
    compiling._say_once.cache_clear()
    compiling.watch()
    for number in range(2):
        with callback_handler.install_callbacks(CallbackTrigger.DYNAMO, f"{number}/0"):
            assert clock.aside() == 0 or number == 1
    assert list(clock.taken()) == ["compiling"]
    assert caplog.text.count("compiling the passes of the networks; takes about a minute, once per machine") == 1


def test_how_long_each_part_took_is_said_with_what_was_there_left_out():
    record = type("Record", (), {"seconds": 7200.0, "evaluation_seconds": 90.0})()
    said = in_parts(record, {"experts": 600.0, "teachers": 0.01, "evaluation": 5.0, "compiling": 40.0})
    assert said == "experts 10 min, distillation 2.0 h, evaluation 2 min, in all 2.2 h, of which compiling 40 s"
    assert in_parts(record, {}) == "distillation 2.0 h, evaluation 2 min, in all 2.0 h"


def test_what_was_split_off_and_where_images_are_from_is_said(tmp_path):
    words = ["method=dm", "dataset.validation=0.25", "evaluation.baselines=[]", f"buffers_root={tmp_path}"]
    settings = compose(words)
    context = make_context(settings, "cpu")
    said = outlook(settings, context, Engine(compile=True))
    assert "validation images (dataset.validation=0.25)" in said
    assert "computed      on cpu, float32, compiled" in said


def test_images_of_ones_own_have_sizes_that_fit_and_the_published_ones_are_named(tmp_path):
    published = {"dm": 20000, "idm": 20000, "dc": 1000, "dsa": 1000, "idc": 2000, "mtt": 5000}
    for method, number in published.items():
        assert compose([f"method={method}", "dataset=folder"]).iterations == number // 20
    arrays = compose(["method=mtt", "dataset=arrays"])
    assert (arrays.iterations, arrays.arguments["experts"].count) == (250, 10)
    words = ["method=dm", "dataset=folder", f"data.root={tmp_path}/none"]
    said = (
        "method.iterations: 1000 for dataset=folder, sized for classes of some hundred images; method.iterations=20000"
    )
    for more, is_said in (([], True), (["method.iterations=20000"], False)):
        code, out, _ = script("distill", *words, *more, cwd=tmp_path)
        assert code == 2
        assert (said in out) is is_said


def test_a_set_and_its_data_are_told_in_a_line_or_two(tmp_path):
    data = load_dataset("digits")
    assert repr(data) == "Dataset(digits: 1438 training and 359 test images 1x8x8 of 10 classes, on cpu)"
    assert repr(data.test) == "Split(359 images 1x8x8, float32 held as uint8, 10 classes)"
    from cmidd import load_synthetic

    synthetic = load_synthetic(run_here(tmp_path / "results", "idc") / "synthetic.safetensors")
    assert repr(synthetic) == (
        "SyntheticSet(100 images 1x8x8, 10 of each of 10 classes, each holding 4 to train on\n  idc on digits)"
    )


def test_a_set_is_shown_with_the_names_of_its_classes(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from cmidd import load_synthetic

    synthetic = load_synthetic(run_here(tmp_path / "results", "dm", "ipc=3") / "synthetic.safetensors")
    axes = synthetic.show(columns=2)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(synthetic.classes)
    drawn = axes.images[0].get_array()
    assert drawn.shape[0] > 4 * drawn.shape[1]  # Ten rows of two.
    axes.figure.savefig(tmp_path / "shown.png")
    assert synthetic.show(axes=axes) is axes


def test_nothing_of_it_draws_random_numbers_or_changes_a_trajectory(tmp_path, monkeypatch):
    folder = run_here(tmp_path / "a" / "results", "mtt", "cmi.lambda=1")
    monkeypatch.setattr(experts, "accuracy", lambda *_: 0.0)
    monkeypatch.setattr(teachers.log, "info", lambda *_: None)
    other = run_here(tmp_path / "b" / "results", "mtt", "cmi.lambda=1")
    ours, theirs = ((place / "synthetic.safetensors").read_bytes() for place in (folder, other))
    assert ours == theirs
    trained = [sorted((tmp_path / name / "buffers" / "experts").rglob("*.safetensors")) for name in "ab"]
    assert [path.read_bytes() for path in trained[0]] == [path.read_bytes() for path in trained[1]]
