"""The page of all runs: its words, its table, its pictures, and what it does in a real browser."""

import json
import re
from functools import partial

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.report import images as report_images
from cmidd.analysis.report.page import page
from cmidd.analysis.report.runs import seconds_at
from cmidd.analysis.report.table import with_found
from cmidd.analysis.results import read_results
from cmidd.analysis.tables.table import make_table, read_layout
from cmidd.cli.commands import report
from cmidd.cli.configs import CONFIGS
from tests.support.browser import asked_for, browser
from tests.support.records import CIFAR, LAYOUT, ROOT, baseline, record


def picture(path, seed=0, size=(96, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


def run(folder, method, dataset, weight, accuracies, **more):
    """A run with its picture, as far as the page reads it."""
    path = record(folder, method, dataset, 10, weight, 0, accuracies, **more)
    picture(path.with_name("synthetic.png"), seed=int(weight))
    return path


def written(root, layout=LAYOUT, **more):
    results, baselines = read_results([root]), read_baselines([root])
    found = cells(results)
    table = make_table(*with_found(*read_layout(layout), found, baselines), found, lambda *_: "1", baselines)
    return page(table, results, folder=root, **more)


def read(text):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """DM with and without CMI and IDC on the digits, evaluated on the way, and DM on CIFAR10."""
    folder = tmp_path_factory.mktemp("results")
    way = {"evaluations": {str(at): [80.0 + at, 82.0 + at] for at in (0, 5, 10)}, "seconds": 20.0}
    measured = {"baselines": {"random": [85.0, 85.2]}, "command": "cmidd distill method=dm", "commit": "0123456789ab"}
    for weight, accuracies in ((0.0, [90.0, 92.0]), (1.0, [95.0, 95.2])):
        path = run(folder, "dm", "digits", weight, accuracies, **way, **measured)
        rows = [json.dumps({"iteration": at, "loss": 1 / at, "cmi": 0.1 * at}) for at in (1, 4, 8)]
        path.with_name("metrics.jsonl").write_text("\n".join(rows))
        for number in (0, 5, 10):
            picture(path.with_name("moments") / f"{number:06d}.png", seed=number)
    run(folder, "idc", "digits", 0.0, [97.0, 97.5])
    run(folder, "dm", "cifar10", 0.0, [48.0, 48.4])
    return folder


def test_headlines_say_what_was_run_what_is_best_and_what_cmi_adds(folder):
    story = read(written(folder, CIFAR))["story"]
    assert story["headline"] == "4 runs of 2 methods on CIFAR10 and Digits, 10 images per class"
    assert story["sentences"][1] == (
        "3 runs on Digits, 10 images per class; best is IDC: 97.25 ± 0.35 (n=2); CMI adds +4.1 points, inside the noise"
    )
    assert story["made_by"] == ["commit 0123456"]


def test_charts_have_pairs_real_images_and_the_published_figure_and_say_them_in_words(folder):
    digits, cifar = read(written(folder, CIFAR))["story"]["charts"]
    assert [(bar["label"], bar["short"]) for bar in digits["bars"]] == [
        ("IDC", "IDC"),
        ("DM", "DM"),
        ("DM + CMI 1", "+ CMI 1"),
    ]
    assert [(line["kind"], line["mean"]) for line in digits["lines"]] == [("random", 85.1)]
    assert cifar["bars"][0]["paper"] == [48.9, 0.6]
    assert "DM 48.20 ± 0.28 (n=2), published 48.9 ± 0.6" in cifar["alt"]
    assert "DM + CMI 1 95.10 ± 0.14 (n=2); random 85.10" in digits["alt"]


def test_the_table_has_what_was_run_and_all_of_the_layout_on_request(folder):
    baseline(folder, "whole", None, "digits", None, [99.0])
    cifar, digits = read(written(folder, CIFAR))["tables"]
    assert (cifar["head"], [row["lines"][0][0] for row in cifar["rows"]]) == (["", "CIFAR10 10"], [["DM"]])
    # Neither the digits nor IDC on them have a place in that layout.
    assert digits["head"] == ["", "Digits 10"]
    assert [row["lines"][0][0][0] for row in digits["rows"]] == ["Whole data set", "DM", "DM+CMI", "IDC"]
    assert digits["rows"][2]["values"] == [pytest.approx(95.1)]
    (everything,) = read(written(folder, CIFAR, missing=True))["tables"]
    assert (len(everything["head"]), everything["dataset"]) == (8, None)
    assert "python scripts/distill.py method=dc dataset=cifar10 ipc=1" in everything["commands"]


def test_a_method_of_the_layout_that_is_not_built_there_keeps_its_published_figures_beside_ours(tmp_path):
    record(tmp_path, "dm", "digits", 10, 0.0, 0, [90.0, 92.0])
    columns = [{"dataset": "cifar10", "ipc": 10}]
    layout = {"columns": columns, "groups": {"papers": {"DM": {"published": [[48.9, None]]}}}}
    (everything,) = read(written(tmp_path, layout, missing=True))["tables"]
    lines = [each["lines"][0] for each in everything["rows"]]
    assert lines == [[["DM"], ["-", "paper 48.9"], ["-"]], [["DM"], ["-"], ["91.00 ± 1.41 (n=2)"]]]
    (digits,) = read(written(tmp_path, layout))["tables"]
    assert [each["lines"][0] for each in digits["rows"]] == [[["DM"], ["91.00 ± 1.41 (n=2)"]]]


def test_an_empty_folder_says_how_to_make_a_run(tmp_path):
    data = read(written(tmp_path, results_root="there"))
    assert (data["story"]["headline"], data["cards"], data["tables"]) == ("No finished run yet", [], [])
    assert data["first"] == "python scripts/distill.py method=dm dataset=digits results_root=there"


def test_a_card_tells_what_else_differs_between_a_baseline_and_its_run_with_cmi(tmp_path):
    for weight, factor in ((0.0, 1), (1.0, 2)):
        settings = {"formation": {"factor": factor}}
        record(tmp_path, "dm", "digits", 10, weight, 0, [90.0, 91.0], settings=settings)
    (card,) = read(written(tmp_path))["cards"]
    assert card["pair"]["unlike"] == "They differ in more than CMI: formation.factor=2 instead of 1."
    assert "image" not in card["pair"]


def test_several_baselines_of_a_card_have_names_and_its_pair_is_of_two_that_differ_in_cmi_alone(tmp_path):
    for number, (weight, iterations) in enumerate([(0.0, 1000), (0.0, 2000), (0.0, 2000), (8.0, 2000)]):
        settings = {"iterations": iterations}
        record(tmp_path / f"{number}", "dm", "digits", 10, weight, 0, [90.0 + number, 90.2 + number], settings=settings)
    data = read(written(tmp_path))
    (card,) = data["cards"]
    names = [data["runs"][number]["name"] for number in card["runs"]]
    assert names == ["without CMI", "with CMI 8", "without CMI, iterations=1000", "without CMI, once more"]
    assert card["pair"]["text"].startswith("With CMI 8 is better by 2.00 points")
    assert card["pair"]["unlike"] == ""


def test_a_difference_is_black_where_two_pictures_agree_and_says_how_much_brighter_it_was_made():
    one, other = Image.new("RGB", (20, 20), (9, 9, 9)), Image.new("RGB", (20, 20), (9, 9, 9))
    other.paste((14, 14, 14), (0, 0, 10, 20))
    made, times, mean = report_images.difference(one, other)
    assert (times, mean) == (51.0, 2.5)
    assert (made.getpixel((0, 0)), made.getpixel((19, 0))) == ((255, 255, 255), (0, 0, 0))


def test_pictures_share_the_bytes_of_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(report_images, "ALL_BYTES", 60_000)
    album = report_images.Album()
    for seed in range(6):
        path = tmp_path / f"{seed}.png"
        picture(path, seed, (200, 100) if seed else (20, 20))
        album.add(partial(report_images.opened, path), path.stat().st_size)
    sizes = [len(address) * 3 // 4 for address in album.addresses()]
    assert sum(sizes) < 60_000
    assert sizes[0] < 2_000
    assert min(sizes[1:]) > 6_000  # The first left them more than a sixth.


def test_seconds_lie_on_the_line_between_those_that_are_known():
    known = [(0.0, 0.0), (10.0, 5.0), (20.0, 25.0)]
    assert [seconds_at(at, known) for at in (0, 4, 15, 20, 21)] == [0.0, 2.0, 15.0, 25.0, None]


@pytest.fixture(scope="module")
def opened(tmp_path_factory, folder):
    with browser(tmp_path_factory.mktemp("profile")) as opened:
        path = folder / "report.html"
        path.write_text(written(folder, CIFAR), encoding="utf-8")
        opened.get("data:,")
        asked_for(opened)  # What the browser's own first page did.
        opened.get(path.as_uri())
        yield opened


@pytest.fixture
def see(opened):
    """Finds elements by CSS, after a moment for what is drawn when it comes near the screen."""
    from selenium.webdriver.support.ui import WebDriverWait

    def see(css, count=None):
        def there(driver):
            found = driver.find_elements("css selector", css)
            return (found,) if (found if count is None else len(found) == count) else False

        return WebDriverWait(opened, 30, 0.05).until(there, f"{css}: not {count or 'there'}")[0]

    return see


def text(elements):
    return [element.get_property("textContent") for element in elements]


def test_filters_choose_charts_tables_and_runs(opened, see):
    assert text(see("#count")) == ["4 of 4 runs"]
    assert (len(see("#charts svg", 2)), len(see("table", 2)), len(see("article", 3))) == (2, 2, 3)
    (option,) = see("#dataset option[value=cifar10]")
    option.click()
    assert text(see("article h3", 1)) == ["DM, CIFAR10, 10 images per class, seed 0"]
    assert text(see("#count")) == ["1 of 4 runs"]
    assert "published 48.9" in see("#charts svg", 1)[0].get_attribute("aria-label")
    see("table", 1)
    opened.back()
    see("article", 3)


def test_a_click_on_a_column_sorts_it_and_the_methods_stay_at_the_left_on_a_phone(opened, see):
    head = see("table:has(tbody:nth-of-type(3)) thead button")[0]
    shown = [head.click() or text(see("table:has(tbody:nth-of-type(3)) tbody tr:first-child th")) for _ in range(3)]
    assert shown[0][-3:] == ["IDC", "DM+CMI", "DM"]
    assert shown[1][:3] == ["DM", "DM+CMI", "IDC"]
    assert shown[2] == sorted(shown[2], key=["Whole data set", "DM", "DM+CMI", "IDC"].index)
    opened.set_window_size(420, 900)
    try:
        inner = opened.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert inner[0] <= inner[1]
        assert opened.execute_script("""
            const scroll = document.querySelector(".scroll"), name = scroll.querySelector("tbody th");
            scroll.style.width = "120px";
            const before = name.getBoundingClientRect().left;
            scroll.scrollLeft = 60;
            return scroll.scrollLeft > 0 && name.getBoundingClientRect().left === before;""")
    finally:
        opened.set_window_size(1400, 900)


def test_a_picture_opens_and_the_slider_shows_the_run_on_its_way(opened, see):
    from selenium.webdriver.common.keys import Keys

    opened.execute_script("document.querySelectorAll('article')[1].scrollIntoView()")
    sliders = see("input[type=range]", 2)
    images = see("article:has(input[type=range]) .picture img", 3)
    before = images[0].get_attribute("src")
    sliders[0].send_keys(Keys.ARROW_LEFT)
    assert sliders[0].get_attribute("aria-valuetext") == "iteration 5 of 10"
    assert images[0].get_attribute("src") != before
    assert "at iteration 5; test accuracy 91.00 ± 1.41 (n=2) per cent" in images[0].get_attribute("alt")
    opened.execute_script("arguments[0].closest('button').focus()", images[0])
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    (large,) = see("dialog[open] img")
    assert large.get_property("naturalWidth") == 96
    assert see("#large-file")[0].get_attribute("href").endswith("/digits/dm/ipc10/cmi0/seed0/synthetic.png")
    opened.switch_to.active_element.send_keys(Keys.ESCAPE)
    see("dialog[open]", 0)


def test_curves_go_over_iterations_or_seconds_and_a_command_can_be_copied(opened, see):
    labels = [each.get_attribute("aria-label") for each in see(".curves svg", 3)]
    assert labels[0].startswith("test accuracy, per cent over iterations: without CMI from 81 at 0 to 91 at 10;")
    opened.execute_script("document.querySelector('input[value=seconds]').click()")
    see(".curves svg[aria-label*='over seconds']", 3)
    opened.execute_script("document.querySelector('.copy').click()")
    see(".copy:not(:empty)")
    assert text(see(".command code"))[0] == "cmidd distill method=dm"


def test_nothing_is_asked_of_the_network_and_the_console_is_silent(opened):
    addresses = asked_for(opened)
    assert any(address.startswith("data:image/webp") for address in addresses)
    assert [address[:200] for address in addresses if not address.startswith(("data:", "file:"))] == []
    assert opened.get_log("browser") == []


@pytest.mark.parametrize(
    ("to", "file"), [("page", "page.html"), ("of.v1", "of.v1.html"), ("a.htm", "a.htm"), ("p/", "p.html")]
)
def test_the_page_is_a_file_that_a_browser_opens(tmp_path, to, file):
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [40.0, 40.1])
    with hydra.initialize_config_dir(str(CONFIGS / "command"), version_base="1.3"):
        words = [f"results_root={tmp_path}", "table=cifar", f"to={tmp_path / to}"]
        report.main(OmegaConf.to_container(hydra.compose("report", words), resolve=True))
    assert [path.name for path in tmp_path.glob("*.htm*")] == [file]


def test_the_page_of_the_evidence_has_all_of_its_runs_and_can_be_mailed():
    folder = ROOT / "results" / "evidence"
    kept = (folder / "report.html").read_text(encoding="utf-8")
    assert len(kept.encode()) < 2_000_000
    assert len(read(kept)["runs"]) == len([*folder.glob("*result.json")])
