"""What figures say: lines to compare with, points, differences, and films of moments."""

import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from cmidd.analysis.figures.embeddings import embeddings
from cmidd.analysis.figures.images import images
from cmidd.analysis.figures.lines import Line, draw_lines, reference_lines
from cmidd.analysis.figures.movie import movie
from cmidd.analysis.figures.page import ROWS, WIDTH, arrangement
from cmidd.analysis.figures.style import Drawing
from cmidd.analysis.figures.weights import weights
from cmidd.analysis.grouping import cells, read_baselines
from cmidd.analysis.results import read_results
from cmidd.cli.published import published_layouts
from cmidd.data.load import load_dataset
from cmidd.networks import build_network
from cmidd.regularizers.cmi import conditional_mutual_information
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.records import baseline, record


def drawn(drawing):
    figure = Figure(drawing.size, layout="constrained")
    drawing.draw(figure)
    return figure


def made(folder, ratios, dataset="cifar10"):
    """Cells by the strength of CMI: the baseline and these ratios."""
    record(folder, "dm", dataset, 10, 0.0, 0, [48.0, 49.0], baselines={"random": [30.0, 32.0]})
    for ratio in ratios:
        cmi = {"weight": None, "ratio": ratio}
        record(folder / f"{ratio}", "dm", dataset, 10, 1.0, 0, [50.0, 50.0 + ratio], settings={"cmi": cmi})
    return {key[3]: cell for key, cell in cells(read_results([folder])).items()}


def test_lines_are_of_random_whole_and_published_whichever_there_are(tmp_path):
    found = made(tmp_path, [0.3])
    pair = {"DM": found["0"], "DM + CMI (ratio 0.3)": found["balanced0.3"]}
    baseline(tmp_path, "whole", None, "cifar10", None, [84.0])
    baseline(tmp_path, "random", "dm", "cifar10", 10, [20.0])  # The runs' own goes before.
    lines = reference_lines(pair, read_baselines([tmp_path]), published_layouts())
    assert [line.text() for line in lines] == [
        "random images (n=2): 31.0",
        "whole data set (n=1): 84.0",
        "DM, published: 48.9",
        "DM + CMI, published: 52.9",
    ]
    assert reference_lines({"DM": made(tmp_path / "mine", [], "mine")["0"]}, {}, published_layouts())[1:] == []


def test_a_line_far_away_is_named_and_does_not_flatten_the_curves():
    axis = Figure().subplots()
    axis.plot([0, 1], [50, 52])
    far, near = Line("whole", 90.0, "b", (1, 1)), Line("random", 49.0, "g", (1, 1))
    draw_lines([axis], [far, near])
    low, high = axis.get_ylim()
    assert low < 49.0 < 52.0 < high < 60.0
    assert {line.get_label() for line in axis.lines[1:]} == {"random: 49.0", "whole: 90.0, above"}


@pytest.mark.parametrize(("ratios", "points"), [([0.1, 0.3], None), ([0.1, 0.3, 1.0], [0.1, 0.3, 1.0])])
def test_three_ratios_make_a_plot_and_fewer_say_why_there_is_none(tmp_path, ratios, points):
    found = weights(made(tmp_path, ratios))
    if points is None:
        assert found.startswith("three strengths of CMI, there are 2 of cmi.ratio, 0 of cmi.lambda")
        return
    figure = drawn(found)
    (bars,) = figure.axes[0].containers
    assert bars[0].get_xdata().tolist() == points
    assert bars[0].get_ydata().tolist() == [50.05, 50.15, 50.5]
    said = [text.get_text() for text in figure.legends[0].get_texts()]
    assert said == ["with CMI (n=2 a point)", "without CMI (n=2)"]


@pytest.fixture(scope="module")
def pair():
    data = load_dataset("digits")
    first = SyntheticSet.from_real(data, 2, Streams(0)("init"))
    second = SyntheticSet.from_real(data, 2, Streams(0)("init"))
    second.leaf = second.leaf.clone()
    second.leaf[0] += 0.1
    return {"DM": first, "DM + CMI": second}


def test_two_grids_have_a_third_panel_that_shows_where_they_differ(pair):
    figure = drawn(images(pair))
    assert [axis.get_title() for axis in figure.axes[:3]] == ["DM", "DM + CMI", "right minus left"]
    changed = torch.tensor(figure.axes[2].images[0].get_array().data[..., :3].std(-1) > 3)
    assert changed.any()
    assert changed[:60, :60].sum() == changed.sum()  # of the first image alone
    smaller = SyntheticSet.from_real(load_dataset("digits"), 1, Streams(0)("init"))
    assert [axis.get_title() for axis in drawn(images({"a": pair["DM"], "b": smaller})).axes] == ["a", "b"]
    assert [axis.get_title() for axis in drawn(images(pair, alike=False)).axes] == ["DM", "DM + CMI"]


def test_one_map_has_the_cmi_of_each_set_below_and_the_same_real_points(pair):
    network = build_network("mlp", (1, 8, 8), 10, torch.Generator().manual_seed(0))
    real = load_dataset("digits").class_batches(3, torch.Generator())
    figure = drawn(embeddings(pair, real, network))
    for axis, synthetic in zip(figure.axes, pair.values(), strict=True):
        split = synthetic.decode()
        with torch.no_grad():
            value = float(conditional_mutual_information(network.embed(split.images).flatten(1), split.labels))
        assert axis.get_xlabel() == f"CMI(S) = {value:.3g} nats"
        assert not len(axis.get_xticks()) + len(axis.get_yticks())
        assert len(axis.lines) == len(split.labels)
    first, second = (axis.collections[0].get_offsets().data.tolist() for axis in figure.axes)
    assert first == second


def test_a_page_holds_all_figures_of_a_cell_and_one_alone_is_none():
    parts = {name: Drawing((7.0, 4.0), lambda figure: figure.subplots()) for row in ROWS for name in row}
    page = arrangement(parts)
    assert page.size[0] == WIDTH
    assert page.size[1] < 11.7  # of A4
    assert len(drawn(page).axes) == len(parts)
    assert arrangement({"images": parts["images"]}) == "two of the figures at least"


def test_a_film_shows_every_panel_at_its_last_moment(tmp_path):
    def moments(name, colour):
        folder = tmp_path / name
        folder.mkdir()
        for at, brightness in colour.items():
            Image.new("RGB", (400, 40), (brightness, 0, 0)).save(folder / f"{at:06d}.png")
        return {at: folder / f"{at:06d}.png" for at in colour}

    panels = {"a": moments("a", {0: 50, 10: 200}), "b": moments("b", {0: 60, 5: 150, 10: 255})}
    movie(panels, "DM", tmp_path / "movie.gif")
    with Image.open(tmp_path / "movie.gif") as film:
        assert film.n_frames == 3
        seen = []
        for number in range(3):
            film.seek(number)
            frame = film.convert("RGB")
            seen.append([frame.getpixel((x, 92))[0] for x in (100, frame.width - 100)])
    for found, expected in zip(seen, [(50, 60), (50, 150), (200, 255)], strict=True):
        assert found == pytest.approx(expected, abs=8)
