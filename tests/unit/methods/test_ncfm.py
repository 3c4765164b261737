"""NCFM's matches, steps and plateau are the published code's, on figures that it computed."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from cmidd.buffers.experts import ExpertSettings
from cmidd.compute.losses import corrected, loss_of
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.training import train
from cmidd.core.context import Context
from cmidd.data.augmentation import Augmentation
from cmidd.data.dataset import Dataset
from cmidd.data.preprocessing import Normalize
from cmidd.data.split import Split
from cmidd.loop.balance import Balance
from cmidd.loop.distill import distillation_step
from cmidd.methods import ncfm
from cmidd.methods.ncfm import NCFM
from cmidd.networks.convnet import ConvNet
from cmidd.samplers.first import First
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.golden import load_golden, load_parameters

SETTINGS = {
    "patience": 500,
    "num_freqs": 16,
    "frequencies": "gaussian",
    "lr_frequencies": 1e-3,
    "factor": 300.0,
    "augment": Augmentation("none"),
    "models": ExpertSettings(1, TrainingRecipe()),
}


class Recorded:
    """The networks of a file of golden figures, in place of trained ones."""

    def __init__(self, golden):
        self.golden, self.count, self.length = golden, len(golden["networks_initial"]), 2

    def segment(self, number, start, end):
        return self.golden["networks_initial"][number], self.golden["networks_trained"][number]


class Published(NCFM):
    """With the random numbers of a file of golden figures in place of drawn ones."""

    def _models_at(self, iteration):
        return self.trained.segment(int(self.trained.golden["network"][iteration]), 0, 1)

    def _blend(self, iteration):
        return float(self.trained.golden["blend"][iteration])

    def _frequencies(self, like, iteration, label):
        return self.trained.golden["t"][iteration, label]


@pytest.fixture(params=["rgb32", "gray28"])
def golden(request):
    return load_golden(f"{request.param}/ncfm")


@pytest.fixture
def method_of(golden, tmp_path, monkeypatch):
    def made(kind):
        monkeypatch.setattr(ncfm, "Experts", lambda context, settings: Recorded(golden))
        real, classes = golden["real"], int(golden["classes"])
        labels = torch.arange(classes).repeat_interleave(real.shape[1])
        preprocessing = Normalize(golden["mean"], golden["std"])
        split = Split(preprocessing(real.flatten(0, 1)), labels)
        data = Dataset("golden", split, split, tuple(map(str, range(classes))), preprocessing)
        formation = Formation(int(golden["factor"]), stored_as="pixels")
        leaf, own = golden["syn"].clone(), torch.arange(classes).repeat_interleave(int(golden["ipc"]))
        synthetic = SyntheticSet(leaf, own, preprocessing, data.classes, formation)
        options = {"name": "convnet", "width": int(golden["width"]), "depth": int(golden["depth"])}
        context = Context(data, synthetic, Streams(0), tmp_path, options, {}, First(data))
        method = Published(
            context,
            **SETTINGS,
            optimizer=kind,
            lr_img=float(golden[f"{kind}_lr"]),
            momentum=float(golden["sgd_momentum"]),
            weight_decay=float(golden["adamw_weight_decay"]),
            batch_real=int(golden["batch_real"]),
            amplitude=float(golden["alpha"]),
            phase=float(golden["beta"]),
            calibration=float(golden["calibration_weight"]),
        )
        method.network.double()
        return method

    return made


def near(value, expected):
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_the_set_starts_from_the_published_images(golden, method_of):
    data = method_of("adamw").context.data
    formation = Formation(int(golden["factor"]), stored_as="pixels")
    drawn = First(data).first(int(golden["ipc"]), formation.tiles, torch.Generator(), None, distinct=True)
    near(SyntheticSet.from_batches(data, drawn, formation).leaf, golden["syn"])


def test_losses_and_gradients_of_a_match_and_a_calibration(golden, method_of):
    method = method_of("sgd")
    steps = method.optimizer()
    steps.prepare = lambda: None  # Of a first iteration nothing is left from before.
    leaf = method.context.synthetic.leaf
    for match, name in zip(method.matches(0), ("match", "calibration"), strict=True):
        near(match.loss.detach(), golden[f"{name}_loss_per_class"])
        near(torch.autograd.grad(match.loss.sum(), leaf)[0], golden[f"{name}_grad_syn"])


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_iterations_end_in_the_published_images(golden, method_of, kind):
    method = method_of(kind)
    optimizer, leaf, classes = method.optimizer(), method.context.synthetic.leaf, int(golden["classes"])
    balance = Balance({}, leaf)
    for iteration in range(len(golden["network"])):
        losses = [
            distillation_step(match, optimizer, [], Streams(0), iteration, balance, 0)["loss"] / classes
            for match in method.matches(iteration)
        ]
        near(losses[0], golden[f"{kind}_match_loss"][iteration])
        near(losses[1], golden[f"{kind}_calibration_loss"][iteration])
        if iteration == 0 and kind == "adamw":
            near(leaf.detach(), golden["adamw_first"])
    near(leaf.detach(), golden[f"{kind}_last"])


def test_the_step_size_falls_where_the_published_one_does(golden, method_of):
    method = method_of("adamw")
    found = []
    for number, loss in enumerate(golden["plateau_losses"].tolist()):
        method._plateau.step(loss)
        found.append(1e-3 * method._counted.param_groups[0]["lr"])
        if number == 1300:  # A run that is killed goes on from here.
            state = method.state()
            method = method_of("adamw")
            method.load_state(state)
    near(torch.tensor(found, dtype=torch.float64), golden["plateau_lr"])


@pytest.mark.parametrize(("stored_as", "least"), [("pixels", 0.0), ("input", -2.0)])
def test_pixels_are_clamped_and_network_input_is_not(method_of, stored_as, least):
    method = method_of("sgd")
    synthetic, steps = method.context.synthetic, method.optimizer()
    steps.prepare = lambda: None
    synthetic.formation = replace(synthetic.formation, stored_as=stored_as)
    with torch.no_grad():
        synthetic.leaf.fill_(-2)
    next(iter(method.matches(0)))
    assert float(synthetic.leaf.detach().min()) == least


def test_a_network_is_trained_on_the_set_as_published(golden, method_of):
    data = method_of("adamw").context.synthetic.decode()
    classes = int(golden["classes"])
    network = ConvNet(tuple(data.images.shape[1:]), classes, width=int(golden["width"]), depth=int(golden["depth"]))
    load_parameters(network.double(), golden, "eval_start")
    recipe = TrainingRecipe(
        epochs=len(golden["eval_lr"]), lr=1e-3, weight_decay=0.01, schedule="fifths", optimizer="adamw"
    )
    near(torch.tensor(recipe.learning_rates, dtype=torch.float64), golden["eval_lr"])
    train(network, data, recipe, Streams(0), what=None)
    near(parameters_to_vector(network.parameters()).detach(), golden["eval_final"])


def test_soft_labels_of_the_evaluation_are_the_published_ones(golden):
    labels = corrected(golden["soft_teacher"], golden["soft_target"].long())
    near(labels, golden["soft_corrected"])
    logits = golden["soft_student"].requires_grad_()
    loss = loss_of(TrainingRecipe(loss="soft", targets="corrected"), logits, golden["soft_target"].long(), labels)
    near(loss.detach(), golden["soft_loss"])
    near(torch.autograd.grad(loss, logits)[0], golden["soft_grad_student"])
