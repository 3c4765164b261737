"""Figures and the page, made from real (tiny) runs."""

import dataclasses
import json
import re

import pytest
from PIL import Image

from cmidd.analysis.grouping import cells
from cmidd.analysis.report.page import page
from cmidd.analysis.results import read_results
from cmidd.analysis.tables.table import make_table, read_layout
from tests.support.figure_layout import LAYOUT
from tests.support.forked import run_script
from tests.support.runs import TINY_METHOD, distill

DM = ["method=dm", "dataset=digits"]
SMALL = ["method.batch_real=16", "evaluation.training.epochs=1"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """DM on the digits without and with CMI, two seeds, evaluated on the way."""
    folder = tmp_path_factory.mktemp("runs")
    words = [*TINY_METHOD["dm"], "evaluation.interval=10", "evaluation.baselines=[random]", "cmi.measure=true"]
    done = distill(folder, *words, "method.iterations=20", "cmi.lambda=0,0.5,1", "seed=0,1", *SMALL, "-m")
    assert done.returncode == 0, done.stderr
    return folder


def test_every_figure_is_drawn_as_png_and_pdf(runs):
    done = run_script("figures", *DM, "weight=1", "real_per_class=20", "movie=true", cwd=runs)
    assert done.returncode == 0, done.stderr
    folder = runs / "results" / "figures" / "dm_digits_ipc10"
    assert "weights: not drawn, it needs three strengths of CMI" in done.stdout + done.stderr
    for name in ("images", "embeddings", "accuracy", "cmi", "arrangement"):
        picture = Image.open(folder / f"{name}.png").convert("L")
        assert picture.width > 400
        assert len(set(picture.resize((64, 64)).getdata())) > 8
        drawn = (folder / f"{name}.pdf").read_bytes()
        assert drawn.startswith(b"%PDF")
        assert b"/FontFile2" in drawn  # TrueType, within the file
        assert b"/Type3" not in drawn
    with Image.open(folder / "movie.gif") as film:
        assert film.n_frames == 3


def test_a_weight_without_a_run_is_refused_with_its_command(runs):
    done = run_script("figures", *DM, "weight=7", cwd=runs)
    assert done.returncode == 2
    assert "python scripts/distill.py method=dm dataset=digits ipc=10 cmi.lambda=7" in done.stderr


def test_stored_sets_are_worth_what_their_records_say(runs):
    done = run_script("table", "table=digits", "--verify", cwd=runs)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": equal") == 3
    path = next((runs / "results").rglob("result.json"))
    text = path.read_text()
    try:
        record = json.loads(text)
        record["last"]["accuracies"] = [99.0, 99.1]
        path.write_text(json.dumps(record))
        done = run_script("table", "table=digits", "verify=100", cwd=runs)
        assert done.returncode == 1
        assert done.stdout.count("DIFFERENT") == 1
    finally:
        path.write_text(text)


def test_the_page_stands_alone_and_records_are_text_in_it(runs):
    results = read_results([runs / "results"])
    command = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    first = dataclasses.replace(results[0], record=dataclasses.replace(results[0].record, command=command))
    results = [first, *results[1:]]
    text = page(make_table(*read_layout(LAYOUT), cells(results), lambda *_: "1"), results)
    assert "</script><script>document.title" not in text
    assert not re.search(r'(src|href)="(?!data:)', text)
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])
    assert len(data["runs"]) == 6
    assert data["runs"][0]["command"] == command
    assert [curve["title"] for curve in data["runs"][0]["curves"]] == ["test accuracy, per cent", "loss", "CMI, nats"]
