"""DATM's start, labels, unroll, curriculum, gate and steps are the published code's, on figures that it computed."""

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from cmidd.buffers.experts import ExpertSettings
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.training import accuracy, train
from cmidd.core.context import Context
from cmidd.data.augmentation import Augmentation
from cmidd.data.dataset import Dataset
from cmidd.data.preprocessing import Normalize
from cmidd.data.split import Split
from cmidd.loop.balance import Balance
from cmidd.loop.distill import distillation_step
from cmidd.methods import mtt
from cmidd.methods.datm import DATM
from cmidd.methods.mtt import StudentPasses, StudentStep, trajectory_distance
from cmidd.networks.convnet import ConvNet
from cmidd.samplers.random import RandomSampler
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.golden import load_golden, load_parameters


class Recorded:
    """The experts of a file of golden figures, in place of trained ones."""

    def __init__(self, golden):
        self.rows, self.count = golden["experts"], len(golden["experts"])

    def segment(self, expert, start, end):
        return self.rows[expert, start], self.rows[expert, end]

    def last(self, expert):
        return self.rows[expert, -1]


class Published(DATM):
    """With the random numbers of a file of golden figures in place of drawn ones."""

    def _segment(self, iteration):
        golden = self.golden
        start = int(golden["trace_start"][iteration])
        end = start + int(golden["trace_expert_epochs"])
        return self.trained.segment(int(golden["trace_expert"][iteration]), start, end)

    def _student_steps(self, iteration):
        labels, steps = self.context.synthetic.labels, []
        for row in self.golden["trace_batches"][iteration]:
            chunk = row[row >= 0]
            steps.append(StudentStep(self.passes, chunk, labels[chunk]))
        return steps


@pytest.fixture(params=["rgb32", "gray28"])
def golden(request):
    return load_golden(f"{request.param}/datm")


def near(value, expected):
    torch.testing.assert_close(value.detach(), expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


@pytest.fixture
def method_of(golden, tmp_path, monkeypatch):
    def made(kind=DATM, **changes):
        monkeypatch.setattr(mtt, "Experts", lambda context, settings: Recorded(golden))
        pool, classes, ipc = golden["pool"], int(golden["classes"]), int(golden["ipc"])
        # The data set holds a class's images in the order in which the original looks at them.
        pool = torch.stack([own[order] for own, order in zip(pool, golden["pool_order"], strict=True)])
        labels = torch.arange(classes).repeat_interleave(pool.shape[1])
        one = torch.ones(pool.shape[2], dtype=torch.float64)
        split, preprocessing = Split(pool.flatten(0, 1), labels), Normalize(0 * one, one)
        data = Dataset("golden", split, split, tuple(map(str, range(classes))), preprocessing)
        own = torch.arange(classes).repeat_interleave(ipc)
        start = golden["images"] if changes.get("init") == "real" else torch.zeros_like(golden["images"])
        synthetic = SyntheticSet(start.clone(), own, preprocessing, data.classes)
        options = {"name": "convnet", "width": int(golden["width"]), "depth": int(golden["depth"])}
        context = Context(data, synthetic, Streams(0), tmp_path, options, {}, RandomSampler(data))
        monkeypatch.setattr(torch, "randperm", lambda count, generator=None: torch.arange(count))
        least, first, last, reached = golden["trace_curriculum"].tolist()
        given = {name: float(golden[f"trace_{key}"]) for name, key in NAMES.items()}
        given |= {"init": "recognised", "syn_steps": 6, "expert_epochs": 1, "batch_syn": None}
        given |= {"min_start_epoch": least, "first_max_start_epoch": first, "max_start_epoch": last}
        given |= {
            "curriculum_iterations": reached,
            "augment": Augmentation("none"),
            "experts": ExpertSettings(1, TrainingRecipe(epochs=8)),
        }
        kind.student = None
        method = kind(context, **{**given, "lr_teacher": float(golden["syn_lr"]), **changes})
        method.golden = golden
        method.student.double()
        return method

    return made


NAMES = {
    "lr_img": "lr_img",
    "momentum": "momentum_img",
    "lr_y": "lr_label",
    "momentum_y": "momentum_label",
    "lr_lr": "lr_lr",
    "threshold": "threshold",
}


def test_it_starts_from_the_published_images_and_labels(golden, method_of):
    synthetic = method_of().context.synthetic
    expected, classes = golden["images"], int(golden["classes"])
    order = torch.cat([_matching(synthetic.leaf, expected, own) for own in torch.arange(len(expected)).chunk(classes)])
    near(synthetic.leaf[order], expected)
    near(synthetic.soft_labels.values[order], golden["initial_labels"])


def _matching(ours, theirs, own):
    """Where of a class each published image is among ours."""
    distances = torch.cdist(theirs[own].flatten(1), ours[own].flatten(1))
    assert sorted(distances.argmin(1).tolist()) == list(range(len(own)))
    return own[distances.argmin(1)]


def test_the_labels_of_images_as_they_are_given_are_those_of_expert_0(golden, method_of):
    near(method_of(init="real").context.synthetic.soft_labels.values, golden["initial_labels_real"])


def test_the_unroll_and_its_three_gradients(golden):
    leaves = [golden[name].clone().requires_grad_() for name in ("images", "syn_lr", "soft_labels")]
    classes, shape = int(golden["classes"]), tuple(golden["images"].shape[1:])
    network = ConvNet(shape, classes, width=int(golden["width"]), depth=int(golden["depth"])).double()
    steps = [StudentStep(StudentPasses(network), row[row >= 0], None) for row in golden["batches"]]
    start, target = (
        torch.cat([golden[key].flatten() for key in sorted(golden) if key.startswith(side)])
        for side in ("start_", "target_")
    )
    images, syn_lr, soft = leaves
    loss = trajectory_distance(images, syn_lr, start, target, steps, soft)
    near(loss, golden["loss"])
    for gradient, name in zip(torch.autograd.grad(loss, leaves), ("images", "syn_lr", "soft_labels"), strict=True):
        near(gradient, golden[f"grad_{name}"])


def test_iterations_step_and_stand_still_where_the_published_ones_do(golden, method_of):
    method = method_of(Published, init="real")
    synthetic, optimizer = method.context.synthetic, method.optimizer()
    with torch.no_grad():
        synthetic.soft_labels.values.copy_(golden["soft_labels"])
        synthetic.syn_lr = synthetic.syn_lr.double()
    synthetic.syn_lr.requires_grad_()
    optimizer.param_groups[1]["params"] = [synthetic.syn_lr]
    optimizer.param_groups[1]["momentum"] = float(golden["trace_momentum_lr"])
    balance = Balance({}, synthetic.leaf)
    for iteration in range(len(golden["trace_loss"])):
        (match,) = method.matches(iteration)
        metrics = distillation_step(match, optimizer, [], Streams(0), iteration, balance, iteration)
        near(metrics["loss"], golden["trace_loss"][iteration])
        assert match.declined == (not golden["trace_stepped"][iteration])
        near(synthetic.soft_labels.values, golden["trace_soft_labels"][iteration])
        near(synthetic.syn_lr, golden["trace_syn_lr"][iteration])
        assert method._bound(iteration) == int(golden["trace_upper"][iteration])
    near(synthetic.leaf, golden["trace_images"])


def test_the_curriculum_is_the_published_one(golden, method_of):
    for settings, expected in zip(golden["curriculum_settings"].tolist(), golden["curriculum_upper"], strict=True):
        least, first, last, reached, sequential = settings
        method = method_of(
            min_start_epoch=least,
            first_max_start_epoch=first if sequential else None,
            max_start_epoch=last,
            curriculum_iterations=reached,
        )
        found = [method._bound(iteration) for iteration in golden["curriculum_iterations"].tolist()]
        assert found == expected.tolist()


def test_segments_start_at_every_epoch_from_the_least_to_below_the_bound_of_their_iteration(method_of):
    bounds = {"min_start_epoch": 2, "first_max_start_epoch": 3, "max_start_epoch": 5, "curriculum_iterations": 100}
    method = method_of(expert_epochs=2, **bounds)
    asked = []
    method.trained.segment = lambda *wanted: asked.append(wanted)

    def starts(first):
        asked.clear()
        for iteration in range(first, first + 40):
            method._segment(iteration)
        assert all(end == start + 2 for _, start, end in asked)
        return {start for _, start, _ in asked}

    assert [starts(first) for first in (0, 55, 100)] == [{2}, {2, 3}, {2, 3, 4}]


def test_a_network_is_trained_on_the_soft_labels_as_published(golden):
    classes, images = int(golden["classes"]), golden["trace_images"]
    shape = tuple(images.shape[1:])
    network = ConvNet(shape, classes, width=int(golden["width"]), depth=int(golden["depth"])).double()
    load_parameters(network, golden, "eval_start")
    recipe = TrainingRecipe(
        epochs=int(golden["eval_epochs"]), lr=float(golden["eval_lr"]), schedule="halfway", loss="soft"
    )
    labels = torch.arange(classes).repeat_interleave(int(golden["ipc"]))
    train(network, Split(images, labels, soft=golden["trace_soft_labels"][-1]), recipe, Streams(0), what=None)
    near(parameters_to_vector(network.parameters()), golden["eval_final"])
    pool = Split(golden["pool"].flatten(0, 1), torch.arange(classes).repeat_interleave(golden["pool"].shape[1]))
    assert accuracy(network, pool) == pytest.approx(float(golden["eval_accuracy"]))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"min_start_epoch": 5}, "method.first_max_start_epoch=2: start epochs go from method.min_start_epoch=5"),
        ({"first_max_start_epoch": 9}, "method.first_max_start_epoch=9: start epochs go from method.min_start_epoch=0"),
        ({"first_max_start_epoch": None, "min_start_epoch": 5}, "method.max_start_epoch=5: start epochs go from"),
    ],
)
def test_a_curriculum_without_start_epochs_is_refused(changes, named):
    given = {"min_start_epoch": 0, "first_max_start_epoch": 2, "max_start_epoch": 5, "expert_epochs": 1}
    experts = ExpertSettings(1, TrainingRecipe(epochs=9))
    with pytest.raises(SettingError, match=named):
        DATM.refuse({**given, "experts": experts, **changes}, ConvNet((1, 8, 8), 10))
