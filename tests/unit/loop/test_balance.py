"""A weight that is measured: what it comes to, where it is kept, and that nothing else changes."""

import json
import re

import pytest
import torch
import yaml

from cmidd import load_synthetic
from cmidd.analysis.grouping import cells
from cmidd.analysis.results import read_results
from cmidd.analysis.tables.table import make_table, read_layout
from cmidd.analysis.tables.text import as_csv
from cmidd.cli.commands.figures import choose_pair
from cmidd.cli.compose import CONFIGS, compose
from cmidd.core.match import Match
from cmidd.loop.balance import Balance, Ratio
from cmidd.loop.distill import distillation_step
from cmidd.loop.divergence import Diverged
from cmidd.regularizers.cmi import CMI
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.records import LAYOUT, record
from tests.support.refusals import script
from tests.support.runs import TINY, run_here, run_until

SHORT = ["evaluation.repeats=1", "evaluation.training.epochs=1", "checkpoint_seconds=0", "ipc=3"]


class Twice:
    """``2 sum x``, a scalar or one for each of three classes; its gradient has the size ``2 sqrt(n)``."""

    def __init__(self, name, per_class=False):
        self.name, self.per_class = name, per_class

    def __call__(self, match, generator):
        return 2 * match.images.sum(1) if self.per_class else 2 * match.images.sum()


def steps(given, losses, regularizers, measure=False, count=3):
    """What images ``[3, 4]`` and the balance are after steps of the losses ``c sum x``; terms count three times."""
    images = torch.zeros(3, 4, requires_grad=True)
    optimizer = torch.optim.SGD([images], lr=1.0)
    balance = Balance(given, images, count, measure)
    weighted = [(given[regularizer.name], regularizer) for regularizer in regularizers]
    moved = []
    for step, c in enumerate(losses):
        before = images.detach().clone()
        match = Match(c * images.sum(), images, torch.arange(3), scale=3)
        distillation_step(match, optimizer, weighted, Streams(0), step, balance, step)
        moved.append(float((before - images.detach())[0, 0]))
    return moved, balance


def test_the_weight_is_the_ratio_times_the_median_of_gradients_and_stays_so_after_the_first_steps():
    losses = [6.0, 60.0, 12.0, 600.0, 6.0]  # of a term that is added three times: sizes 1, 10, 2, ... times its own
    moved, balance = steps({"t": Ratio(0.5)}, losses, [Twice("t")])
    weights = [(move - c) / 6 for move, c in zip(moved, losses, strict=True)]
    assert weights == pytest.approx([0.5, 0.5 * 5.5, 0.5 * 2, 0.5 * 2, 0.5 * 2], rel=1e-5)
    assert balance.record() == {"t": {"weight": 1.0, "ratio": 0.5, "measured": pytest.approx([1, 10, 2])}}
    # What is per class is added to each class's loss once.
    moved, balance = steps({"t": Ratio(0.5)}, losses, [Twice("t", per_class=True)])
    assert balance.measured["t"] == pytest.approx([3, 30, 6])
    assert moved[-1] == pytest.approx(6 + 0.5 * 6 * 2)


def test_every_term_is_measured_beside_the_loss_alone_and_one_of_weight_zero_is_not_added():
    losses = [6.0, 6.0]
    terms = [Twice("a"), Twice("b"), Twice("c")]
    moved, balance = steps({"a": Ratio(1.0), "b": 5.0, "c": 0.0}, losses, terms)
    assert moved == pytest.approx([6 + 6 + 5 * 6] * 2)
    ratios = {name: (found["weight"], found["ratio"]) for name, found in balance.record().items()}
    assert ratios == {"a": (1.0, 1.0), "b": (5.0, 5.0), "c": (0.0, 0.0)}
    plain, none = steps({"b": 5.0, "c": 0.0}, losses, terms[1:])
    assert none.record() == {}
    measuring, some = steps({"b": 5.0, "c": 0.0}, losses, terms[1:], measure=True)
    assert measuring == plain
    assert some.record()["b"]["measured"] == pytest.approx([1, 1])


@pytest.mark.parametrize(("loss", "what"), [(0.0, "zero"), (torch.nan, "not finite")])
def test_a_gradient_without_a_ratio_is_refused_where_a_weight_hangs_on_it(loss, what):
    with pytest.raises(
        SettingError, match=rf"^t\.ratio=0\.5: the gradient of the loss .* is {what}.*t\.lambda"
    ) as error:
        steps({"t": Ratio(0.5)}, [loss], [Twice("t")])
    assert isinstance(error.value, Diverged) == (loss != 0)  # Other draws may help against what is not finite.
    assert steps({"t": 1.0}, [loss], [Twice("t")], measure=True)[1].record() == {}


def measured(folder):
    return json.loads((folder / "result.json").read_text()).get("weights")


def images(folder):
    return load_synthetic(folder / "synthetic.safetensors").images


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where all runs of this file share their teachers."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def place(home, request):
    """A new folder, by its name, for the runs of a test."""
    return lambda name: home / re.sub(r"\W", "_", f"{request.node.name}_{name}")


def test_a_term_without_a_gradient_stops_the_run_and_nothing_is_saved(place, monkeypatch):
    monkeypatch.setattr(CMI, "__call__", lambda self, match, generator: 0 * match.images.sum())
    with pytest.raises(SettingError, match=r"^cmi\.ratio=0\.3: the gradient of the term cmi in the images is zero"):
        run_here(place("results"), "dm", *SHORT, "cmi=balanced")
    assert not list(place("results").rglob("checkpoint*"))


def test_a_gradient_that_is_not_finite_is_named_and_rollback_forgets_what_was_measured_since(place, monkeypatch):
    calls, sound = [], CMI.__call__

    def broken(self, match, generator):
        calls.append(None)
        return sound(self, match, generator) + (torch.nan * match.images.sum() if len(calls) == 12 else 0)

    monkeypatch.setattr(CMI, "__call__", broken)
    words = [*SHORT, "cmi=balanced", "method.iterations=15", "balance_steps=13"]
    with pytest.raises(
        Diverged, match=r"^cmi\.ratio=0\.3: the gradient of the term cmi .* not finite in iteration 12;"
    ):
        run_here(place("results"), "dm", *words)
    calls.clear()
    folder = run_here(place("others"), "dm", *words, "on_nan=rollback")
    assert json.loads((folder / "result.json").read_text())["rollbacks"] == 1
    assert len(measured(folder)[0]["cmi"]["measured"]) == 13


@pytest.mark.parametrize(("method", "killed_at"), [("dm", [1, 3]), ("idc", [1, 2])])
def test_a_run_that_is_killed_while_it_measures_and_after_goes_on_to_the_same_bits(place, method, killed_at):
    words = [*SHORT, "cmi=balanced", f"balance_steps={2 if method == 'dm' else 3}"]
    if method == "dm":
        words += ["regularizer=[iid,mim4dd,cmi]", "iid.ratio=0.2", "mim4dd.lambda=1"]
    whole = run_here(place("whole"), method, *words)
    for iteration in killed_at:
        run_until(iteration, "checkpoint.safetensors", place("results"), method, *words)
    resumed = run_here(place("results"), method, *words)
    assert torch.equal(images(whole), images(resumed))
    assert measured(whole) == measured(resumed)
    ratios = {name: found["ratio"] for name, found in measured(whole)[0].items()}
    assert ratios == {"cmi": 0.3} | ({"iid": 0.2, "mim4dd": ratios.get("mim4dd")} if method == "dm" else {})
    assert len(measured(whole)[0]["cmi"]["measured"]) == (2 if method == "dm" else 3)


@pytest.mark.parametrize("method", ["mtt", "idm"])
def test_a_run_whose_weight_is_measured_is_one_of_that_weight_and_measuring_changes_nothing(place, method):
    words = [*SHORT, "method.iterations=2"]
    balanced = run_here(place("results"), method, *words, "cmi=balanced", "balance_steps=1")
    weight = measured(balanced)[0]["cmi"]["weight"]
    given = [f"cmi.lambda={weight!r}", "cmi.measure=true", "balance_steps=1"]
    measuring = run_here(place("measuring"), method, *words, *given)
    fixed = run_here(place("fixed"), method, *words, given[0])
    assert torch.equal(images(balanced), images(fixed))
    assert torch.equal(images(measuring), images(fixed))
    assert (measuring / "metrics.jsonl").read_text() == (fixed / "metrics.jsonl").read_text()
    assert measured(measuring)[0]["cmi"]["ratio"] == pytest.approx(0.3)
    assert measured(fixed) is None


def test_every_stage_measures_its_own_and_a_baseline_says_what_would_be_ratio_one(place):
    words = [*SHORT, "ipc=4", "schedule=pdd", "schedule.stages=2", "schedule.warm_epochs=1", "schedule.pool=1"]
    folder = run_here(place("results"), "dm", *words, "cmi=balanced")
    stages = measured(folder)
    assert [stage["cmi"]["ratio"] for stage in stages] == [0.3, 0.3]
    assert stages[0]["cmi"]["weight"] != stages[1]["cmi"]["weight"]
    run_until(2, "checkpoint_stage2.safetensors", place("others"), "dm", *words, "cmi=balanced")
    assert measured(run_here(place("others"), "dm", *words, "cmi=balanced")) == stages
    ((found,),) = (stage.values() for stage in measured(run_here(place("plain"), "dm", *SHORT, "cmi.measure=true")))
    assert (found["weight"], found["ratio"], len(found["measured"])) == (0, 0, 4)


def test_a_checkpoint_that_lacks_what_was_measured_is_refused_in_one_line(place):
    words = [*SHORT, "cmi=balanced", "balance_steps=1"]
    run_until(2, "checkpoint.safetensors", place("results"), "dm", *words)
    (path,) = place("results").rglob("checkpoint.safetensors")
    tensors, about = tensor_files.read_tensors(path)
    del tensors["balance/cmi"]
    tensor_files.write_tensors(path, tensors, about)
    with pytest.raises(
        SettingError, match=r"^cmi\.ratio=0\.3: the checkpoint lacks what was measured; move the run's folder away"
    ):
        run_here(place("results"), "dm", *words)


def test_ratio_and_mode_are_the_identity_and_runs_from_before_keep_theirs():
    balanced = compose(["method=dm", "cmi=balanced"])
    assert balanced.folder.as_posix() == "results/digits/dm/ipc10/cmibalanced0.3/seed0"
    assert (balanced.identity["cmi"]["weight"], balanced.identity["cmi"]["ratio"]) == (None, 0.3)
    for words in (["cmi.ratio=0.5"], ["cmi=balanced", "cmi.ratio=0.5"], ["cmi=paper", "cmi.ratio=0.5"]):
        assert compose(["method=dm", "dataset=cifar10", *words]).folder.parts[-2] == "cmibalanced0.5"
    plain = compose(["method=dm", "regularizer=iid", "cmi.lambda=3"])
    assert plain.folder.parts[-2] == "cmi3"
    assert not {"ratio"} & {*plain.identity["cmi"], *plain.identity["regularizers"]["iid"]}
    assert "balance_steps" not in balanced.identity
    assert compose(["method=dm", "balance_steps=5"]).identity["balance_steps"] == 5
    other = compose(["method=dm", "regularizer=[iid,cmi]", "iid.ratio=0.2", "cmi=balanced"])
    weights = {"covariance": 0.01, "centralization": 0.05}
    assert other.regularizers["iid"] == {"weight": None, "ratio": 0.2, **weights, "teacher_weight_decay": 5e-4}
    assert other.cmi.ratio == 0.3


def test_recipes_without_a_published_or_a_tuned_weight_are_balanced():
    def chosen(*words):
        return compose(["cmi=recipe", *words]).folder.parts[-2]

    assert chosen("method=dm", "dataset=cifar10") == "cmi8000"
    assert chosen("method=mtt", "dataset=digits") == "cmi0.1"
    for method in ("mtt", "idm"):
        assert chosen(f"method={method}", "dataset=cifar10") == "cmibalanced0.3"
    assert chosen("method=dc", "dataset=cifar100") == "cmibalanced0.3"
    # At one image per class CMI is zero whatever its weight, as with published ones; decoded into four it is not.
    assert chosen("method=mtt", "dataset=cifar10", "ipc=1") == "cmi1"
    assert chosen("method=idm", "dataset=cifar10", "ipc=1") == "cmibalanced0.3"
    for path in (CONFIGS / "recipe").glob("*.yaml"):
        recipe = yaml.safe_load(path.read_text())
        cmi = recipe.get("cmi", {})
        known = cmi.get("published") or "digits" in path.stem
        elsewhere = "own_images" in [path.stem, *recipe.get("defaults", [])] or recipe.keys() <= {"defaults"}
        assert known or elsewhere or cmi["own"] == {"ratio": 0.3}, path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["cmi.lambda=1", "cmi.ratio=0.3"],
            "cmi.lambda=1, cmi.ratio=0.3: lambda gives the weight, ratio has it",
        ),
        (["cmi=balanced", "cmi.lambda=1"], "cmi.lambda=1, cmi.ratio=0.3: lambda"),
        (["regularizer=iid", "iid.lambda=1", "iid.ratio=1"], "iid.lambda=1, iid.ratio=1: lambda gives"),
        (["cmi.ratio=0"], "cmi.ratio=0: expected a number > 0, or null"),
        (["cmi.ratio=x"], "cmi.ratio=x: expected a number > 0"),
        (["regularizer=iid", "iid.ratio=inf"], "iid.ratio=inf: expected a number > 0"),
        (
            ["cmi.lambda=balanced"],
            "expected a number >= 0, null (baseline), paper or recipe, or cmi.ratio instead",
        ),
        (["cmi=balanced", "ipc=1"], "cmi.ratio=0.3: cmi has no gradient at one training image per class, so no weight"),
        (["cmi=balanced", "ipc=5", "schedule=pdd"], "one training image per class in the first stage"),
        (
            ["regularizer=iid", "iid.ratio=1", "ipc=1"],
            "iid.ratio=1: iid has no gradient at one training image",
        ),
        (["balance_steps=0"], "balance_steps=0: Input should be greater than 0"),
        (["cmi=paper"], "use cmi=balanced, or give a number"),
    ],
)
def test_what_cannot_be_balanced_is_refused_before_any_work(words, message):
    with pytest.raises(SettingError) as refused:
        compose(["method=dm", *words])
    assert message in str(refused.value)


def test_at_one_image_per_class_real_centroids_and_formation_give_a_gradient():
    assert compose(["method=dm", "cmi=balanced", "ipc=1", "cmi.centroids=real"]).cmi.ratio == 0.3
    assert compose(["method=idm", "cmi=balanced", "ipc=1", "method.formation.factor=2"]).cmi.ratio == 0.3


def balanced_record(folder, seed, weight=40.0):
    measuring = {"cmi": {"weight": weight, "ratio": 0.3, "measured": [weight / 0.3]}}
    more = {"settings": {"cmi": {"weight": None, "ratio": 0.3}}, "weights": [measuring]}
    return record(folder / f"b{seed}", "dm", "cifar10", 10, 9.0, seed, [50.0], **more)


def test_seeds_of_a_balanced_run_are_one_cell_whatever_they_measured(tmp_path):
    for seed in (0, 1):
        balanced_record(tmp_path, seed, weight=40.0 + seed)
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [48.0])
    found = cells(read_results([tmp_path]))
    assert {key[3]: len(cell.results) for key, cell in found.items()} == {"0": 1, "balanced0.3": 2}
    rows = as_csv(make_table(*read_layout(LAYOUT), found, lambda *_: "8000")).splitlines()
    (row,) = [row for row in rows if row.startswith("DM+CMI,cifar10,10,")]
    assert row.startswith("DM+CMI,cifar10,10,50.0,0.0,2,0 1,,0.3,")
    # Of several the sweeps' is taken.
    record(tmp_path, "dm", "cifar10", 10, 8000.0, 0, [52.0])
    rows = as_csv(make_table(*read_layout(LAYOUT), cells(read_results([tmp_path])), lambda *_: "8000")).splitlines()
    (row,) = [row for row in rows if row.startswith("DM+CMI,cifar10,10,")]
    assert row.startswith("DM+CMI,cifar10,10,52.0,0.0,1,0,8000.0,,")


def test_figures_take_a_balanced_run_by_its_ratio(tmp_path):
    balanced_record(tmp_path, 0)
    record(tmp_path, "dm", "cifar10", 10, 0.0, 0, [48.0])
    found = {key[3]: cell for key, cell in cells(read_results([tmp_path])).items()}

    class Asked:
        method, dataset, ipc, weight, ratio, results_root = "dm", "cifar10", 10, None, None, ["x"]

    assert list(choose_pair(found, Asked)) == ["DM", "DM + CMI (ratio 0.3)"]
    Asked.ratio = 0.5
    with pytest.raises(
        SettingError, match=r"^ratio=0\.5: no such run under x; make it: .* ipc=10 cmi\.ratio=0\.5 results_root=x$"
    ):
        choose_pair(found, Asked)


def test_the_command_line_runs_it_records_it_and_prints_the_ratios(tmp_path):
    words = [*TINY, *SHORT, "method=dm", "method.iterations=3", "cmi=balanced"]
    code, out, err = script("distill", *words, "evaluation.baselines=[]", cwd=tmp_path)
    assert code == 0, err
    assert "measured in stage 1: cmi: weight" in out
    (path,) = tmp_path.rglob("result.json")
    found = json.loads(path.read_text())
    assert not {"cmi.weight", "cmi.ratio"} & found["differs_from_recipe"].keys()
    assert load_synthetic(path.with_name("synthetic.safetensors")).about["cmi"] == {"ratio": 0.3}
    code, out, err = script("evidence", "results", "--ratios", cwd=tmp_path, folder="tools")
    assert code == 0, err
    weight = found["weights"][0]["cmi"]["weight"]
    assert f"| dm, digits, 3 | cmi | {weight:.4g}, measured | 0.3 | " in out
    assert "(3) | " in out
    code, out, err = script("table", "table=digits", "--verify", cwd=tmp_path)
    assert code == 0, err
    assert out.count(": equal") == 1
    code, out, err = script("distill", *words, "evaluation.baselines=[]", "dry_run=true", cwd=tmp_path)
    assert code == 0, err
