"""Numbers that go wrong are found at once, never saved, and named by the setting to change; rollback goes on."""

import json
import re
from types import SimpleNamespace

import pytest
import torch

from cmidd import load_synthetic
from cmidd.compute.recipe import TrainingRecipe
from cmidd.core.match import Match
from cmidd.evaluation.train_on_set import stages_of
from cmidd.loop import distill as loop
from cmidd.loop.divergence import Diverged, Watch
from cmidd.loop.pace import Pace
from cmidd.regularizers.cmi import CMI
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.runs import run_here, run_until

METHODS = ["dc", "dm", "dsa", "idc", "idm", "mtt"]
SHORT = ["evaluation.repeats=1", "evaluation.training.epochs=1", "checkpoint_seconds=0"]


def refused(folder, method, *words):
    """The message of a run that stops, and the tensors and counts of its last checkpoint, if there is one."""
    with pytest.raises(SettingError) as error:
        run_here(folder, method, *SHORT, *words)
    kept = list(folder.rglob("checkpoint.safetensors"))
    assert "\n" not in str(error.value)
    return str(error.value), tensor_files.read_tensors(kept[0]) if kept else None


def iteration_in(message):
    return int(re.search(r"in iteration (\d+)", message)[1])


def broken(monkeypatch, when):
    """CMI that is not a number where ``when(call, generator)`` says so; calls count from 1."""
    calls, sound = [], CMI.__call__

    def measure(self, match, generator):
        calls.append(None)
        value = sound(self, match, generator)
        return value * torch.nan if when(len(calls), generator) else value

    monkeypatch.setattr(CMI, "__call__", measure)


@pytest.mark.parametrize("method", METHODS)
def test_a_set_that_explodes_stops_within_ten_iterations_and_is_not_saved(tmp_path, method):
    message, kept = refused(tmp_path / "results", method, "method.lr_img=1e9", "method.iterations=11")
    assert re.match(r"method\.lr_img=1e\+09: the images, at the start up to [\d.]+, reached \S+ in iteration", message)
    assert iteration_in(message) <= 10
    if kept is not None:
        assert kept[1]["iteration"] < iteration_in(message)
        assert kept[0]["leaf_0"].abs().max() < 1000


@pytest.mark.parametrize(("lr_teacher", "what"), [(0.3, "-"), (1e-4, "")])
def test_a_learned_step_size_that_turns_negative_or_explodes_stops(tmp_path, lr_teacher, what):
    message, kept = refused(tmp_path / "results", "mtt", "method.lr_lr=1e6", f"method.lr_teacher={lr_teacher}")
    assert re.match(rf"method\.lr_lr=1e\+06: the learned step size, at the start \S+, became {what}\d", message)
    assert iteration_in(message) == 1
    assert kept is None


@pytest.mark.parametrize(
    ("start", "reached", "syn_lr", "term", "blamed"),
    [
        (0.5, 99.0, 0.02, 0.0, None),
        (0.5, 101.0, 0.02, 0.0, "method.lr_img=2: the images, at the start up to 0.5, reached 101"),
        (3.0, 299.0, 0.02, 0.0, None),
        (3.0, -301.0, 0.02, 0.5, "method.lr_img=2: the images, at the start up to 3, reached 301"),
        (3.0, 301.0, 0.02, -2.0, "method.lr_img=2, t=7: the images, at the start up to 3, reached 301"),
        (3.0, 3.0, 99.0, 0.0, None),
        (3.0, 3.0, 101.0, 0.0, "method.lr_lr=5: the learned step size, at the start 0.02, became 101"),
    ],
)
def test_images_and_a_step_size_may_grow_a_hundredfold_or_to_a_hundred(start, reached, syn_lr, term, blamed):
    """Named beside is a term that weighs more than the loss, which is 3; the term's weight is 2."""
    leaf, rate = torch.tensor([start, -0.1]), torch.tensor(0.02)
    optimizer = torch.optim.SGD([{"params": [leaf]}, {"params": [rate]}], lr=1.0)
    method, arguments = SimpleNamespace(unsteady=("lr_img",)), {"lr_img": 2.0, "lr_lr": 5.0}
    synthetic = SimpleNamespace(syn_lr=rate)
    watch = Watch(method, synthetic, optimizer, lambda name: 2.0, lambda name: f"{name}=7", arguments)
    leaf[0], rate[()] = reached, syn_lr
    watch.note(41, {name: torch.tensor(value) for name, value in (("loss", 3.0), ("t", term), ("total", 3.0))})
    if blamed is None:
        watch.check()
    else:
        with pytest.raises(Diverged, match=f"^{re.escape(blamed)} in iteration 42; choose a smaller value$"):
            watch.check()


def test_a_network_that_diverges_is_named_by_its_own_learning_rate(tmp_path):
    message, _ = refused(tmp_path / "results", "dc", "method.net.lr=1e30")
    assert message.startswith("method.net.lr=1e+30, method.lr_img=0.1: the loss is not finite in iteration 1;")


def test_a_broken_regulariser_is_named_and_the_state_before_is_kept(tmp_path, monkeypatch):
    broken(monkeypatch, lambda call, _: call == 13)
    words = ["cmi.lambda=1", "method.iterations=30"]
    message, (tensors, counts) = refused(tmp_path / "results", "dm", *words)
    assert message.startswith("cmi.lambda=1: the term cmi is not finite in iteration 13; choose a smaller value")
    assert message.endswith("checkpoint.safetensors holds the last good state")
    assert counts["iteration"] == 12
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert run_here(tmp_path / "results", "dm", *SHORT, *words).joinpath("DONE").exists()


def test_one_bad_step_among_ten_is_found_though_the_set_stays_finite(tmp_path, monkeypatch):
    sound = CMI.__call__
    calls = []

    def detached(self, match, generator):
        calls.append(None)
        return sound(self, match, generator) + (torch.inf if len(calls) == 4 else 0.0)

    monkeypatch.setattr(CMI, "__call__", detached)
    words = ["cmi.lambda=1", "method.iterations=30", "checkpoint_seconds=100"]
    message, kept = refused(tmp_path / "results", "dm", *words)
    assert "the term cmi is not finite in iteration 4" in message
    assert "nothing was saved before" in message
    assert kept is None


def test_a_weight_too_large_for_its_numbers_is_named(tmp_path):
    message, _ = refused(tmp_path / "results", "dm", "cmi.lambda=1e39")
    assert message.startswith("cmi.lambda=1e+39: the sum of the terms is not finite")
    message, _ = refused(tmp_path / "others", "dm", "cmi.lambda=1e12")
    assert message.startswith("method.lr_img=5, cmi.lambda=1e+12: the images,")


def test_a_network_of_the_queue_that_diverged_is_not_saved_and_no_rollback_helps(tmp_path):
    words = ["method.net.lr=1e30", "method.iterations=10"]
    message, kept = refused(tmp_path / "results", "idm", *words)
    assert message.startswith("method.net.lr=1e+30, method.lr_img=1: ")
    assert "not finite" in message
    assert kept is None
    message, kept = refused(tmp_path / "results", "idm", *words, "on_nan=rollback")
    assert "3 rollbacks in a row did not help" in message
    assert all(tensor.isfinite().all() for tensor in kept[0].values())


ROLLING = [*SHORT, "cmi.lambda=1", "method.iterations=30", "on_nan=rollback"]


def unlucky(call, generator):
    """For the draws of iteration 13, and those of iteration 25 after a rollback."""
    streams, again = Streams(0), Streams(0)
    again.attempt = 1
    return generator.initial_seed() in (streams("cmi", 12, 0).initial_seed(), again("cmi", 24, 0).initial_seed())


def test_rollback_draws_anew_halves_the_steps_goes_on_to_the_end_and_says_so(tmp_path, monkeypatch):
    broken(monkeypatch, unlucky)
    step_sizes, step = [], loop.distillation_step

    def noted(match, optimizer, *others):
        step_sizes.append(optimizer.param_groups[0]["lr"])
        return step(match, optimizer, *others)

    monkeypatch.setattr(loop, "distillation_step", noted)
    folder = run_here(tmp_path / "results", "dm", *ROLLING, "method.lr_img=8")
    record = json.loads((folder / "result.json").read_text())
    assert record["rollbacks"] == 2
    assert step_sizes == [8.0] * 13 + [4.0] * 15 + [2.0] * 10
    assert load_synthetic(folder / "synthetic.safetensors").images.isfinite().all()
    rows = [json.loads(line)["iteration"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows == [10, 20, 30, 30]
    assert not list(folder.glob("good*"))


def test_a_run_that_is_killed_between_rollbacks_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    broken(monkeypatch, unlucky)
    whole = run_here(tmp_path / "whole", "dm", *ROLLING)
    for iteration in (12, 17, 20, 24):
        run_until(iteration, "checkpoint.safetensors", tmp_path / "results", "dm", *ROLLING)
    resumed = run_here(tmp_path / "results", "dm", *ROLLING)
    assert torch.equal(*(load_synthetic(folder / "synthetic.safetensors").images for folder in (whole, resumed)))
    records = [json.loads((folder / "result.json").read_text()) for folder in (whole, resumed)]
    assert records[0]["rollbacks"] == records[1]["rollbacks"] == 2
    assert records[0]["evaluations"] == records[1]["evaluations"]
    assert (whole / "metrics.jsonl").read_text() == (resumed / "metrics.jsonl").read_text()


def test_rollback_gives_up_after_three_in_a_row(tmp_path, monkeypatch):
    broken(monkeypatch, lambda call, _: call > 12)
    words = ["cmi.lambda=1", "method.iterations=30", "on_nan=rollback"]
    message, (_, counts) = refused(tmp_path / "results", "dm", *words)
    assert "3 rollbacks in a row did not help" in message
    assert (counts["iteration"], counts["rollbacks"]) == (10, 3)
    monkeypatch.undo()
    folder = run_here(tmp_path / "results", "dm", *SHORT, *words)
    assert json.loads((folder / "result.json").read_text())["rollbacks"] == 3


def test_rollbacks_of_twentieths_that_were_passed_do_not_count_to_those_in_a_row(tmp_path):
    streams, leaf, bad = Streams(0), torch.ones(2, 1, 2, 2), [(12, 0), (22, 1), (32, 2), (42, 3), (52, 4)]

    class Plain:
        unsteady, main_steps, steps_per_iteration = ("lr_img",), 1, 1

        def optimizer(self):
            return torch.optim.SGD([leaf.requires_grad_()], lr=0.1)

        def matches(self, iteration):
            if (iteration, streams.attempt) in bad:
                raise Diverged("method.lr_img=0.1")
            yield Match(leaf.square().sum(), leaf, torch.tensor([0, 1]))

        def state(self):
            return {}

        def load_state(self, tensors):
            pass

    observer = SimpleNamespace(metrics=lambda row: None, forget=lambda iteration: None)
    pace = Pace(60, 1000, evaluate_last=False, on_nan="rollback")
    synthetic = SimpleNamespace(leaf=leaf, syn_lr=None, classes=("zero", "one"))
    given = Plain(), synthetic, [], streams, pace, tmp_path / "checkpoint.safetensors", observer
    found = loop.distill(*given, remembering={}, arguments={"lr_img": 0.1})
    assert (found["iteration"], found["rollbacks"], found["rollbacks_in_a_row"]) == (60, 5, 0)


def test_without_trouble_rollback_changes_nothing(tmp_path):
    words = [*SHORT, "method.iterations=12"]
    folders = [run_here(tmp_path / on_nan, "dm", *words, f"on_nan={on_nan}") for on_nan in ("stop", "rollback")]
    assert torch.equal(*(load_synthetic(folder / "synthetic.safetensors").images for folder in folders))


def test_a_run_that_stopped_may_go_on_with_rollback(tmp_path, monkeypatch):
    broken(monkeypatch, lambda call, _: call == 13)
    words = ["cmi.lambda=1", "method.iterations=30"]
    refused(tmp_path / "results", "dm", *words)
    assert run_here(tmp_path / "results", "dm", *SHORT, *words, "on_nan=rollback").joinpath("DONE").exists()


def test_another_attempt_draws_anew_and_leaves_child_streams_alone():
    first, again = Streams(3), Streams(3)
    again.attempt = 1
    assert first("real", 7).initial_seed() != again("real", 7).initial_seed()
    assert first.child("evaluate", 7).seed == again.child("evaluate", 7).seed


def test_no_expert_and_no_teacher_that_diverged_is_kept(tmp_path):
    message, _ = refused(tmp_path / "results", "mtt", "method.experts.training.lr=1e30")
    assert message.startswith("method.experts.training.lr=1e+30: training expert 1/2 ended in parameters that are not")
    assert not list(tmp_path.rglob("expert_*.safetensors"))


@pytest.mark.parametrize("learned", [-0.01, 0.0, float("nan")])
def test_a_set_whose_learned_step_size_is_useless_is_refused(tmp_path, learned):
    synthetic = load_synthetic(run_here(tmp_path / "results", "dm", *SHORT) / "synthetic.safetensors")
    synthetic.syn_lr = torch.tensor(learned)
    with pytest.raises(SettingError, match=r"training\.lr: the set's learned step size is"):
        stages_of(synthetic, TrainingRecipe())
