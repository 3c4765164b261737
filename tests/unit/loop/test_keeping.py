"""When a set is evaluated and saved, what is kept of it, how far checkpoints have come, and what a rollback keeps."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from cmidd.loop import keeping
from cmidd.loop.checkpoints import Progress, checkpoint_of, progress_of
from cmidd.loop.divergence import Diverged
from cmidd.loop.keeping import Keeping
from cmidd.loop.pace import Pace
from cmidd.loop.rollback import Rollback
from cmidd.utils import tensor_files

COUNTS = {"iteration": 0, "seconds": 0.0, "evaluation_seconds": 0.0, "evaluations": {}, "evaluated_at": {}}


@pytest.mark.parametrize(
    ("iterations", "interval", "last", "expected"),
    [
        (10, 3, True, [3, 6, 9, 10]),
        (10, 3, False, [3, 6, 9]),
        (9, 3, True, [3, 6, 9]),
        (10, 20, True, [10]),
        (10, 20, False, []),
    ],
)
def test_a_set_is_evaluated_at_its_interval_and_once_at_the_end(iterations, interval, last, expected):
    pace = Pace(iterations, interval, last)
    assert pace.evaluations == expected
    assert [done for done in range(1, iterations + 1) if pace.evaluates(done)] == expected


class Stored:
    """A state that says what it was asked to save and to load."""

    def __init__(self, **counts):
        self.about = {**COUNTS, "evaluations": {}, "evaluated_at": {}, **counts}
        self.saved, self.watch = [], SimpleNamespace(forget=lambda: None)

    @property
    def iteration(self):
        return self.about["iteration"]

    def save(self, path):
        self.saved.append((path.name, self.iteration))

    def load(self, path, **newer):
        self.about |= {"iteration": 40, "seconds": 4.0, "evaluation_seconds": 1.0, **newer}


@pytest.fixture
def now(monkeypatch):
    """A clock that tests set."""
    clock = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(keeping, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


@pytest.fixture
def observer(now):
    """Says 50 and twice the iteration, after seven seconds."""

    def evaluate(iteration):
        now.seconds += 7
        return [50.0, 2.0 * iteration]

    return SimpleNamespace(evaluate=evaluate)


def kept(state, observer, **pace):
    return Keeping(state, Path("checkpoint.safetensors"), Pace(10, 3, **pace), observer)


def test_an_evaluation_is_kept_with_when_it_was_and_how_long_it_took(observer):
    state = Stored(iteration=9, seconds=3.5)
    own = kept(state, observer)
    assert (own.accuracy, own.seconds_to_come()) == ({}, None)
    own.evaluate()
    assert own.seconds_to_come() == 3 * 7.0
    state.about |= {"iteration": 10, "seconds": 4.0}
    own.evaluate()
    assert state.about["evaluations"] == {"9": [50.0, 18.0], "10": [50.0, 20.0]}
    assert state.about["evaluated_at"] == {"9": 3.5, "10": 4.0}
    assert state.about["evaluation_seconds"] == 14.0
    assert own.accuracy == {"accuracy": 35.0}  # Of iteration 10, which as text comes before 9.
    assert state.saved == [("checkpoint.safetensors", 9), ("checkpoint.safetensors", 10)]
    assert kept(Stored(), observer, evaluate_last=False).seconds_to_come() is None
    assert Keeping(Stored(), Path("x"), Pace(10, 20, False), observer).seconds_to_come() == 0.0


def test_a_checkpoint_is_due_around_evaluations_at_the_end_and_after_its_seconds(now, observer):
    own = kept(Stored(), observer, evaluate_last=False, checkpoint_seconds=60.0)
    assert [done for done in range(1, 11) if own.due(done)] == [3, 6, 9, 10]
    now.seconds += 60
    assert not own.due(1)
    now.seconds += 1
    assert own.due(1)
    own.save()
    assert not own.due(1)


@pytest.mark.parametrize(("iteration", "there", "caught_up"), [(3, {}, True), (3, {"3": [1.0]}, False), (4, {}, False)])
def test_a_run_that_was_stopped_before_an_evaluation_makes_up_for_it(observer, iteration, there, caught_up):
    state = Stored(iteration=iteration, evaluations=dict(there))
    kept(state, observer).catch_up()
    assert (state.about["evaluations"] != there) == caught_up


def test_the_checkpoints_of_all_stages_say_how_far_a_run_has_come(tmp_path):
    assert progress_of(tmp_path) == Progress()
    for stage, (iteration, seconds, evaluated) in enumerate(((10, 5.0, (4, 10)), (4, 2.5, (3,)))):
        about = {
            **COUNTS,
            "iteration": iteration,
            "seconds": seconds,
            "evaluations": {str(n): [9.0] for n in evaluated},
        }
        tensor_files.write_tensors(checkpoint_of(tmp_path, stage), {"leaf_0": torch.zeros(1)}, about)
    assert progress_of(tmp_path) == Progress(14, 7.5, frozenset({4, 10, 13}))


def rollback(state, iterations, void=lambda iteration: None):
    return Rollback(state, Path("checkpoint_stage2.safetensors"), iterations, "rollback", void)


@pytest.mark.parametrize(("iterations", "twentieth"), [(30, 10), (399, 10), (1000, 50), (20_000, 1000)])
def test_states_to_go_back_to_are_a_twentieth_of_the_iterations_apart_and_ten_at_least(iterations, twentieth):
    own = rollback(Stored(), iterations)
    assert [done for done in range(1, 2001) if own.marks(done)] == list(range(twentieth, 2001, twentieth))


def test_a_rollback_counts_its_seconds_and_voids_what_was_logged_since():
    state, void = Stored(iteration=73, seconds=9.0, evaluation_seconds=6.0, rollbacks=2, rollbacks_in_a_row=1), []
    rollback(state, 1000, void.append).back(Diverged("method.lr_img=8"))
    said = [state.about[name] for name in ("iteration", "seconds", "evaluation_seconds")]
    assert said == [40, 9.0, 6.0]
    assert (state.about["rollbacks"], state.about["rollbacks_in_a_row"]) == (3, 2)
    assert (void, state.saved) == ([40], [("checkpoint_stage2.safetensors", 40)])
