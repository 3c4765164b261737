"""Every method and plug-in runs on a pretended GPU, and its steps hardly ever wait for it."""

from collections import Counter
from pathlib import Path

import pytest

from cmidd.cli.api import evaluate
from cmidd.loop import distill
from cmidd.utils import files
from tests.support.pretended import Counts, pretended_device
from tests.support.runs import run_here, run_until

SMALL = ["network.width=4", "network.depth=2", "ipc=2", "evaluation.repeats=1", "evaluation.training.epochs=1"]
GPU = [*SMALL, "device=cuda", "engine.compile=false", "cmi.teacher=convnet"]
STAGES = ["schedule.stages=2", "schedule.pool=1", "schedule.warm_epochs=1"]
DEEP = ["method.outer_loop=11"]
# Twenty steps or more (MTT: two stages of eleven), and how often one waits on average. Every tenth iteration looks
# whether numbers went wrong and logs, which costs three waits; what a step adds for itself adds one at least.
RUNS = {
    "dm": (0.9, ["method.iterations=22", "cmi.lambda=1", "engine.precision=bf16"]),
    "dc": (0.9, ["method.iterations=2", *DEEP, "regularizer=mim4dd", "engine.precision=bf16"]),
    "dsa": (0.9, ["method.iterations=2", *DEEP, "regularizer=iid"]),
    "idm": (1.9, ["method.iterations=22", "method.fetch_nets=2", "cmi.ratio=0.1"]),
    "idc": (0.9, ["method.iterations=1", "method.inner_loop=11", "method.batch_syn_max=3", "schedule=pdd", *STAGES]),
    "datm": (1.9, ["method.iterations=22"]),
    "ncfm": (1.4, ["method.iterations=11", "sampler=first", "cmi.lambda=1"]),
    "mtt": (1.4, ["method.iterations=11", "method.syn_steps=2", "schedule=seqmatch", *STAGES, "dataset.zca=true"]),
}
RUNS["idc"][1].extend(["sampler=dream", "sampler.interval=5", "sampler.rounds=20"])
MOST_DIFFERENT = ("dm", "mtt", "idc", "ncfm")  # The others step as these do.
MOST = 4  # times that a step, DREAM's choice or an epoch of evaluation may wait for the device


class Steps:
    """What is counted from the beginning of a step to that of the next in the same stage.

    Writing a checkpoint waits too, but how often that is depends on time.
    """

    def __init__(self, counts: Counts, monkeypatch: pytest.MonkeyPatch) -> None:
        self.where: Counter[tuple[str, str]] = Counter()
        self.count, self._before = 0, Counter()
        take = distill.distillation_step

        def step(*arguments):
            if arguments[-1] > 0:
                self.where += Counter(counts.where) - self._before
                self.count += 1
            self._before = Counter(counts.where)
            return take(*arguments)

        monkeypatch.setattr(distill, "distillation_step", step)

    def waits(self, *rooms: str) -> float:
        """Of all steps, at places whose path begins so."""
        seen = {at: times for at, times in self.where.items() if not at[0].startswith("cmidd/utils/tensor_files")}
        return sum(times for (place, _), times in seen.items() if place.startswith(rooms))

    def __str__(self) -> str:
        return "\n".join(f"{times / self.count:6.2f} {at}" for at, times in self.where.most_common(20))


@pytest.mark.parametrize(
    "method", [each if each in MOST_DIFFERENT else pytest.param(each, marks=pytest.mark.heavy) for each in RUNS]
)
def test_a_run_goes_through_and_a_step_hardly_waits_for_the_device(method, tmp_path, monkeypatch):
    budget, words = RUNS[method]
    with pretended_device("cuda") as counts:
        steps = Steps(counts, monkeypatch)
        folder = run_here(tmp_path / "runs", method, *GPU, *words)
    assert (folder / "DONE").exists()
    assert files.read_json(folder / "result.json")["device"] == "Pretended"
    assert steps.count >= 20
    assert counts.kernels > 100 * steps.count
    assert steps.waits("") / steps.count <= budget <= MOST, f"{steps.waits('') / steps.count:.2f} a step:\n{steps}"
    if method == "idc":
        choices = steps.count // 5
        assert 1 <= steps.waits("cmidd/samplers/dream", "cmidd/compute/kmeans") / choices <= MOST, str(steps)


def test_a_run_on_the_second_of_two_devices_leaves_the_first_alone(tmp_path):
    words = ["device=cuda:1", "method.iterations=2", "method.batch_real=4", "cmi.lambda=1"]
    with pretended_device("cuda", 1):
        assert (run_here(tmp_path, "dm", *GPU, *words) / "DONE").exists()


def test_a_run_is_resumed_and_its_set_evaluated(tmp_path):
    words = [*GPU, "method.iterations=4", "method.batch_real=4", "checkpoint_seconds=0"]
    with pretended_device("cuda") as counts:
        run_until(2, "checkpoint.safetensors", tmp_path / "runs", "dm", *words)
        folder = run_here(tmp_path / "runs", "dm", *words)
        waits = [_evaluated(folder, epochs, counts) for epochs in (2, 22)]
    undisturbed = run_here(tmp_path / "cpu", "dm", *words, "device=cpu")
    assert _accuracies(folder) == pytest.approx(_accuracies(undisturbed), abs=1)
    assert (waits[1] - waits[0]) / 20 <= 1, f"{counts.lines()}"


def test_the_networks_of_an_evaluation_are_trained_at_once(tmp_path):
    folder, launched = run_here(tmp_path, "dm", *SMALL, "method.iterations=1", "method.batch_real=4"), []
    for repeats in (1, 3):
        with pretended_device("cuda") as counts:
            evaluate(folder, "training.epochs=10", repeats=repeats, device="cuda")
            launched.append(counts.kernels)
    assert launched[1] < 2.5 * launched[0], launched


def _accuracies(folder: Path) -> list[float]:
    return files.read_json(folder / "result.json")["last"]["accuracies"]


def _evaluated(folder: Path, epochs: int, counts: Counts) -> int:
    """How often the host waits while a set is evaluated."""
    counts.reset()
    evaluate(folder, f"training.epochs={epochs}", repeats=1, device="cuda")
    return counts.syncs
