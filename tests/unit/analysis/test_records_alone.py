"""What figures choose among records, which may be kept without their synthetic sets."""

import shutil

import pytest

from cmidd.analysis.figures.style import Drawing
from cmidd.analysis.grouping import cells
from cmidd.analysis.results import read_results
from cmidd.analysis.verify import Verification
from cmidd.cli.commands import figures, table
from cmidd.cli.compose import compose
from tests.support.records import ROOT, record
from tests.support.refusals import script, script_refused


def test_records_alone_give_the_figures_of_accuracies_and_say_what_the_others_need(tmp_path):
    for weight in (0, 0.25, 0.5, 1):
        folder = tmp_path / "results"
        evaluations = {"5": [80.0, 81.0], "10": [90.0, 91.0 + weight]}
        more = {"evaluations": evaluations, "command": "python scripts/distill.py method=dm"}
        record(folder, "dm", "digits", 10, weight, 0, evaluations["10"], **more)
    words = ["method=dm", "dataset=digits", "weight=1"]
    code, out, err = script("figures", *words, cwd=tmp_path)
    assert code == 0, err
    said = out + err
    assert "images, embeddings: not drawn, DM has a record without its synthetic.safetensors" in said
    assert "run it again: python scripts/distill.py method=dm" in said
    assert "cmi: not drawn" in said
    drawn = {path.name for path in (folder / "figures" / "dm_digits_ipc10").iterdir()}
    names = ("accuracy", "weights", "arrangement")
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    code, _, err = script("figures", *words, "movie=true", cwd=tmp_path)
    assert code == 2
    assert "movie=true:" in err
    assert "has no moments/" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["weight=0"], ["weight=0:", "the set without CMI is always drawn"]),
        (["weight=1", "ratio=0.3"], ["weight=1", "ratio=0.3", "give one of them"]),
    ],
)
def test_a_strength_that_is_none_and_two_of_them_are_refused(tmp_path, words, said):
    for weight in (0, 1):
        record(tmp_path / "results", "dm", "digits", 10, weight, 0, [90.0])
    script_refused("figures", "figures", ["method=dm", "dataset=digits", *words], tmp_path, *said)


def pair_of(root):
    found = {key[3]: cell for key, cell in cells(read_results([root])).items()}
    return {"DM": found["0"], "DM + CMI (weight 8000)": found["8000"]}


def test_figures_say_what_else_differs_and_one_line_joins_what_differs_in_strength_alone(tmp_path, caplog):
    caplog.set_level("INFO")
    for weight, iterations in ((0, 100), (1, 200), (2, 200), (3, 400), (8000, 200)):
        record(tmp_path, "dm", "cifar10", 10, float(weight), 0, [90.0], settings={"iterations": iterations})
    found = {key[3]: cell for key, cell in cells(read_results([tmp_path])).items()}
    pair = pair_of(tmp_path)
    said = figures.unlike(pair)
    assert said == "\nthey differ in more than CMI: iterations=200\ninstead of 100"
    assert figures.unlike({"DM": found["1"], "DM + CMI": found["8000"]}) == ""
    assert set(figures.of_one_kind(found, pair)) == {"0", "1", "2", "8000"}
    record(tmp_path, "dm", "cifar10", 10, 0.0, 1, [50.0], settings={"iterations": 100})
    found = {key[3]: cell for key, cell in cells(read_results([tmp_path])).items()}
    assert found["0"].mean == 70.0
    assert figures.of_one_kind(found, pair)["0"].mean == 90.0
    assert caplog.messages == [
        "they differ in more than CMI: iterations=200 instead of 100",
        *["weights: left out: cmi=3: iterations=400 instead of 200"] * 2,
        "weights: over the seeds that all have: 0",
    ]


def test_a_strength_that_is_not_drawn_takes_no_seeds_from_those_that_are(tmp_path):
    for weight in (0, 1, 2, 8000):
        for seed in (0, 1, 2):
            record(tmp_path, "dm", "cifar10", 10, float(weight), seed, [90.0])
    record(tmp_path, "dm", "cifar10", 10, 9.0, 0, [90.0], settings={"cmi": {"weight": None, "ratio": 0.3}})
    found = {key[3]: cell for key, cell in cells(read_results([tmp_path])).items()}
    kept = figures.of_one_kind(found, pair_of(tmp_path))
    assert {name: len(cell.results) for name, cell in kept.items()} == {
        **dict.fromkeys("012", 3),
        "8000": 3,
        "balanced0.3": 1,
    }


def test_sets_and_moments_of_no_common_seed_are_called_by_their_seeds(tmp_path, caplog):
    for weight, seeds in ((0, (0, 2)), (8000, (1,))):
        for seed in seeds:
            path = record(tmp_path, "dm", "cifar10", 10, weight, seed, [48.0])
            (path.parent / "moments").mkdir()
            for name in ("synthetic.safetensors", "moments/000000.png"):
                (path.parent / name).touch()
    chosen = figures.kept_sets(pair_of(tmp_path))
    titles = ["DM, seed 0", "DM + CMI (weight 8000), seed 1"]
    assert ([result.seed for result in chosen.values()], figures.titles_of(chosen)) == ([0, 1], titles)
    assert f"without their difference, it needs two sets of one seed; drawn are {'; '.join(titles)}" in caplog.text
    assert list(figures.moments_to_show(pair_of(tmp_path))) == titles
    shutil.copytree(tmp_path / "cifar10/dm/ipc10/cmi8000/seed1", other := tmp_path / "cifar10/dm/ipc10/cmi8000/seed2")
    (other / "result.json").write_text((other / "result.json").read_text().replace('"seed": 1', '"seed": 2'))
    chosen = figures.kept_sets(pair_of(tmp_path))
    assert {name: result.seed for name, result in chosen.items()} == {"DM": 2, "DM + CMI (weight 8000)": 2}
    assert list(figures.moments_to_show(pair_of(tmp_path))) == figures.titles_of(chosen) == list(chosen)


def test_the_figure_of_sets_of_two_seeds_has_no_panel_of_their_difference(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(figures, "images", lambda sets, **how: drawn.update(sets=list(sets), **how) or "not drawn")
    monkeypatch.setattr(figures, "map_of", lambda *_: "not drawn")
    for name in ("cmi0_seed0", "cmi8000_seed1"):
        for path in (ROOT / "results" / "evidence").glob(f"cifar10_dm_ipc10_{name}.*"):
            shutil.copy(path, tmp_path)
    words = ["method=dm", "dataset=cifar10", f"results_root={tmp_path}", f"to={tmp_path / 'figures'}"]
    code, out, err = script("figures", *words, cwd=tmp_path)
    assert code == 0, (out, err)
    assert drawn["alike"] is False
    assert [title.partition("\n")[0] for title in drawn["sets"]] == ["DM, seed 0", "DM + CMI (weight 8000), seed 1"]


def test_without_the_data_set_the_other_figures_are_drawn_and_said_to_be(tmp_path, monkeypatch):
    """As of the kept records, on a machine where nobody has downloaded CIFAR10."""
    for weight in (0, 1):
        path = record(tmp_path / "results", "dm", "cifar10", 10, weight, 0, [48.0])
        (path.parent / "synthetic.safetensors").touch()
    image = Drawing((1, 1), lambda figure: None)
    monkeypatch.setattr(figures, "images", lambda sets, **_: image)
    monkeypatch.setattr(figures, "load_synthetic", lambda path: None)
    words = ["method=dm", "dataset=cifar10"]
    run = compose([*words, "data.download=false", "data.root=nowhere"])
    monkeypatch.setattr(figures, "rebuild", lambda *_, **__: run)
    code, out, err = script("figures", *words, "weight=1", cwd=tmp_path)
    assert code == 0, err
    assert "embeddings: not drawn, it needs the data set: dataset=cifar10: looked for" in out + err
    folder = tmp_path / "results" / "figures" / "dm_cifar10_ipc10"
    assert f"written: {folder.relative_to(tmp_path) / 'images.png'}" in out
    assert (folder / "images.pdf").exists()


def test_verifying_a_table_asks_for_the_data_of_its_own_sets_alone(tmp_path, monkeypatch):
    """Beside those of the digits lies a set of CIFAR10, whose data are not here."""
    for dataset in ("digits", "cifar10"):
        path = record(tmp_path / "results", "dm", dataset, 10, 0, 0, [48.0])
        (path.parent / "synthetic.safetensors").touch()
    evaluated = []

    def verify(result, device, **_):
        evaluated.append(result.dataset)
        return Verification(result.path, [48.0], [48.0])

    monkeypatch.setattr(table, "verify", verify)
    code, out, err = script("table", "table=digits", "--verify", cwd=tmp_path)
    assert (code, evaluated) == (0, ["digits"]), err
    assert ": equal" in out
    code, out, err = script("table", "table=fashion_mnist", "--verify", cwd=tmp_path)
    assert (code, evaluated) == (0, ["digits"]), err
    assert "verify=3: no set of this table's runs is kept" in out + err
