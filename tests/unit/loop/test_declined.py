"""A match that wants no step moves nothing; a loss beside the method's own takes no regulariser."""

import json
from types import SimpleNamespace

import pytest
import torch

from cmidd import load_synthetic
from cmidd.core.match import Match
from cmidd.loop.balance import Balance, Ratio
from cmidd.loop.distill import _iteration, distillation_step, measured
from cmidd.loop.state import State
from cmidd.utils.random_streams import Streams
from tests.support.runs import run_here


class Term:
    name = "term"

    def __call__(self, match, generator):
        return match.images.square().sum()


@pytest.fixture
def images():
    return torch.ones(2, 1, 2, 2, requires_grad=True)


def step(images, **changes):
    optimizer = torch.optim.SGD([images], lr=0.1, momentum=0.5)
    match = Match(images.sum(), images, torch.tensor([0, 1]), **changes)
    return distillation_step(match, optimizer, [(1.0, Term())], Streams(0), 0, Balance({"term": 1.0}, images), 0)


def test_a_declined_match_moves_nothing_and_says_its_loss(images):
    metrics = step(images, declined=True)
    assert torch.equal(images.detach(), torch.ones(2, 1, 2, 2))
    assert {name: float(value) for name, value in metrics.items()} == {"loss": 8, "term": 0, "total": 8}


def test_a_loss_beside_is_stepped_on_alone(images):
    step(images, beside="calibration")
    assert torch.allclose(images.detach(), torch.full((2, 1, 2, 2), 0.9))


def test_a_term_draws_anew_in_each_iteration_and_where_the_match_says_so(images):
    seeds = []

    class Drawing(Term):
        def __call__(self, match, generator):
            seeds.append(generator.initial_seed())
            return super().__call__(match, generator)

    optimizer, balance = torch.optim.SGD([images], lr=0.1), Balance({"term": 1.0}, images)
    for iteration, draw in ((0, 0), (0, 1), (1, 0), (0, 0)):
        match = Match(images.sum(), images, torch.tensor([0, 1]), draw=draw)
        distillation_step(match, optimizer, [(1.0, Drawing())], Streams(0), iteration, balance, 0)
    assert len(set(seeds)) == 3
    assert seeds[0] == seeds[3]
    stepped = [*seeds]
    seeds.clear()
    for iteration, draw in ((0, 0), (0, 1), (1, 0), (0, 0)):  # One of weight 0 is looked at by the same draws.
        match = Match(images.sum(), images, torch.tensor([0, 1]), draw=draw)
        found = measured(match, {"loss": torch.zeros(())}, [(0.0, Drawing())], Streams(0), iteration, None)
        assert found == {"loss": 0.0, "term": pytest.approx(float(images.detach().square().sum()))}
    assert seeds == stepped


def test_only_steps_that_are_taken_count_to_those_in_which_a_weight_is_measured(images):
    """Of each iteration two matches, the first of which is declined, and a loss beside: five are measured of nine."""

    class Method:
        main_steps, steps_per_iteration = 2, 3

        def matches(self, iteration):
            for number, changes in enumerate(({"declined": True}, {}, {"beside": "calibration"})):
                loss = (1 + 10 * iteration + number) * images.sum()
                yield Match(loss, images, torch.tensor([0, 1]), **changes)

    class Linear(Term):
        def __call__(self, match, generator):
            return match.images.sum()

    optimizer = torch.optim.SGD([images], lr=0.0)
    balance = Balance({"term": Ratio(0.5)}, images, 5)
    state = State(optimizer, {}, Streams(0), SimpleNamespace(note=lambda *given: None))
    for _ in range(9):
        _iteration(Method(), optimizer, [(Ratio(0.5), Linear())], Streams(0), balance, state, 2)
        state.advance(0.25)
    assert balance.measured["term"] == pytest.approx([2, 12, 22, 32, 42])
    assert [state.about[name] for name in ("iteration", "declined", "seconds")] == [9, 9, 2.25]


def test_a_gate_that_never_opens_is_counted_and_leaves_the_start(tmp_path):
    folder = run_here(tmp_path / "results", "datm", "method.threshold=1e-6", "cmi.lambda=1")
    record = json.loads((folder / "result.json").read_text())
    assert record["declined"] == 4
    moved = run_here(tmp_path / "results", "datm", "method.threshold=1e6", "seed=0", "cmi.lambda=2")
    assert "declined" not in json.loads((moved / "result.json").read_text())
    images = [load_synthetic(each / "synthetic.safetensors").images for each in (folder, moved)]
    assert not torch.equal(*images)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(row["cmi"] > 0 for row in rows if "cmi" in row)


def test_a_gate_that_never_opens_measures_no_weight(tmp_path):
    words = ["method.threshold=1e-6", "method.iterations=12", "cmi.ratio=0.3"]
    record = json.loads((run_here(tmp_path / "results", "datm", *words) / "result.json").read_text())
    assert record["declined"] == 12


def test_the_calibration_is_logged_beside_the_match(tmp_path):
    folder = run_here(tmp_path / "results", "ncfm", "cmi.lambda=1")
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    (last,) = [row for row in rows if "loss" in row]
    assert last["calibration"] > 0
    assert last["cmi"] > 0
