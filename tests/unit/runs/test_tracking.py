"""Tracking: who is asked for, what is refused before any work, and curves in which no row stands twice."""

import json
import sys

import pytest

from cmidd.cli.compose import compose
from cmidd.loop.checkpoints import Progress
from cmidd.runs import tracking
from cmidd.runs.tracking import Tracker, WandbSettings, chosen
from cmidd.utils.errors import SettingError
from tests.support.runs import run_here


def test_what_is_asked_for_is_one_setting_and_the_mode_of_wandb_alone_means_wandb():
    asked = {
        "none": [(None, None), ("none", None), (None, "disabled"), ("none", "disabled")],
        "wandb": [("wandb", None), (None, "offline"), (None, "online"), ("wandb", "offline")],
    }
    for where, pairs in asked.items():
        assert {chosen(given, WandbSettings(mode)) for given, mode in pairs} == {where}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tracking=none", "wandb.mode=online"], "tracking=none: wandb.mode=online asks for wandb"),
        (["tracking=tensorboard", "wandb.mode=offline"], "tracking=tensorboard: wandb.mode=offline asks for wandb"),
        (["tracking=wandb", "wandb.mode=disabled"], "wandb.mode=disabled: tracking=wandb asks for it"),
        (["tracking=mlflow"], "tracking=mlflow"),
    ],
)
def test_contradictions_are_refused(words, message):
    with pytest.raises(SettingError, match=message):
        compose(words)


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_package_that_is_not_there_is_named_with_its_command_before_any_work(monkeypatch, name):
    monkeypatch.setattr(tracking, "find_spec", lambda _: None)
    monkeypatch.delitem(sys.modules, name, raising=False)  # Another test may have imported it.
    with pytest.raises(
        SettingError, match=rf"tracking={name}: the package {name} is not installed; pip install {name}"
    ):
        compose([f"tracking={name}"])
    compose(["tracking=none"])


def test_who_tracks_is_no_part_of_what_a_run_is():
    assert compose(["tracking=none"]).identity == compose(["wandb.mode=offline"]).identity == compose([]).identity


def scalars(folder):
    """``{name: [(iteration, value)]}`` of the event files in a folder, as TensorBoard shows them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(each.step, each.value) for each in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_tensorboard_shows_every_row_once_however_often_a_run_is_stopped_or_goes_back(tmp_path):
    pytest.importorskip("tensorboard")

    def start(iteration):
        return Tracker(tmp_path, Progress(iteration), "tensorboard", WandbSettings(), {})

    first = start(0)
    for iteration in (10, 20, 30):
        first({"iteration": iteration, "loss": iteration / 10})
    second = start(20)  # Iteration 30 came after the last checkpoint: it is done once more.
    for iteration in (30, 40):
        second({"iteration": iteration, "loss": iteration / 5})
    second.forget(30)
    second({"iteration": 40, "loss": 0.5})
    second.follower.writer.flush()
    assert scalars(tmp_path / "tensorboard") == {"loss": [(10, 1), (20, 2), (30, 6), (40, 0.5)]}
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["iteration"], row["loss"]) for row in rows] == [(10, 1), (20, 2), (30, 6), (40, 0.5)]


def test_a_run_with_tensorboard_leaves_its_curves_and_its_images_beside_the_rest(tmp_path):
    pytest.importorskip("tensorboard")
    folder = run_here(tmp_path / "results", "dm", "tracking=tensorboard", "evaluation.baselines=[]")
    found = scalars(folder / "tensorboard")
    assert sorted(found) == ["accuracy", "loss"]
    assert [step for step, _ in found["accuracy"]] == [4]


def test_neither_is_imported_where_nobody_asks(tmp_path, monkeypatch):
    for name in ("tensorboard", "torch.utils.tensorboard", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)  # An import of it fails.
    tracker = Tracker(tmp_path, Progress(), None, WandbSettings(), {})
    tracker({"iteration": 10, "loss": 1.0})
    tracker.close(tmp_path / "absent.png", {})


@pytest.mark.parametrize("kind", ["CommError", "UsageError"])
def test_a_wandb_that_refuses_or_cannot_be_reached_is_one_line_with_the_way_out(tmp_path, monkeypatch, kind):
    wandb = pytest.importorskip("wandb")

    def init(**_):
        raise getattr(wandb.errors, kind)("Run initialization has timed out")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(SettingError, match=r"^wandb\.mode=online: Run init.* -- or use wandb\.mode=offline and"):
        Tracker(tmp_path, Progress(), "wandb", WandbSettings(), {})
