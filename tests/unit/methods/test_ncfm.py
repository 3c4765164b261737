"""NCFM's matches, steps and plateau are the published code's, on figures that it computed."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import parameters_to_vector

from cmidd.buffers.experts import ExpertSettings
from cmidd.compute.characteristic import characteristic_discrepancy
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
from cmidd.methods.ncfm import NCFM, _Sampling
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
    def made(kind, **changes):
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
        given = {
            "lr_img": float(golden[f"{kind}_lr"]),
            "momentum": float(golden["sgd_momentum"]),
            "weight_decay": float(golden["adamw_weight_decay"]),
            "batch_real": int(golden["batch_real"]),
            "amplitude": float(golden["alpha"]),
            "phase": float(golden["beta"]),
            "calibration": float(golden["calibration_weight"]),
        }
        method = Published(context, **{**SETTINGS, **given, **changes}, optimizer=kind)
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
        if number in (1300, 2000):  # A run that is killed goes on from here, once before and once after it fell.
            state = method.state()
            method = method_of("adamw")
            method.load_state(state)
    near(torch.tensor(found, dtype=torch.float64), golden["plateau_lr"])


def iterate(method, optimizer, iteration):
    """Take an iteration; its losses, summed over classes."""
    balance = Balance({}, method.context.synthetic.leaf)
    matches = method.matches(iteration)
    return [
        float(distillation_step(match, optimizer, [], Streams(0), iteration, balance, 0)["loss"]) for match in matches
    ]


def test_the_plateau_is_told_the_mean_of_both_losses_and_the_images_are_stepped_by_its_step_size(golden, method_of):
    """Published: (match + calibration) / C, every iteration; without a record for so long the step size is halved."""
    method = method_of("adamw", patience=1, calibration=2.0)
    optimizer, told, step = method.optimizer(), [], method._plateau.step
    method._plateau.step = lambda loss: told.append(loss) or step(loss)
    method._plateau.best = 0.0  # No loss is a record.
    sizes = []
    for iteration in range(3):
        losses = iterate(method, optimizer, iteration)
        assert told[-1] == pytest.approx(sum(losses) / int(golden["classes"]))
        sizes.append(optimizer.lr)
    assert sizes == pytest.approx([method.lr_img, method.lr_img, method.lr_img / 2])


def test_the_calibration_has_its_weight(golden, method_of):
    method = method_of("sgd", calibration=2.5)
    steps = method.optimizer()
    steps.prepare = lambda: None
    _, calibration = method.matches(0)
    near(calibration.loss.detach(), 2.5 * golden["calibration_loss_per_class"])


def test_amplitude_and_phase_are_the_weights_of_their_own_terms(golden, method_of):
    """A class's loss, by the formula: factor * mean_t sqrt(alpha (|f| - |g|)^2 + 2 beta (|f||g| - Re f conj g))."""
    method = method_of("sgd", amplitude=0.8, phase=0.1)
    steps = method.optimizer()
    steps.prepare = lambda: None
    match = next(method.matches(0))
    for label, frequencies in enumerate(golden["t"][0]):
        f, g = (
            torch.polar(torch.ones(()).double(), F.normalize(side[own.labels == label], dim=1) @ frequencies.T).mean(0)
            for side, own in zip(match.embedded, (match.real, match.synthetic), strict=True)
        )
        phase = f.abs() * g.abs() - (f * g.conj()).real
        expected = 300 * (0.8 * (f.abs() - g.abs()).square() + 2 * 0.1 * phase).sqrt().mean()
        torch.testing.assert_close(match.loss[label].detach(), expected.detach(), rtol=1e-6, atol=0)


class Marking:
    """In place of an augmentation: what each kind of image went through can be told by a number that was added."""

    def __init__(self):
        self.seeds = []

    def siamese(self, real, synthetic, num_classes, generator):
        return Split(real.images + 0.1, real.labels), Split(synthetic.images + 0.2, synthetic.labels)

    def per_class(self, num_classes, generator):
        self.seeds.append(generator.initial_seed())
        return lambda images, labels: images + 0.3


def test_networks_see_augmented_images_in_the_match_and_in_the_calibration_which_draws_anew(golden, method_of):
    method = method_of("sgd", augment=Marking())
    steps, synthetic, classes = method.optimizer(), method.context.synthetic, int(golden["classes"])
    steps.prepare = lambda: None
    for iteration in range(2):
        matches = method.matches(iteration)
        match = next(matches)
        near(match.synthetic.images.detach(), synthetic.decode().images + 0.2)
        real = First(method.context.data).batch(int(golden["batch_real"]), None, None, ())
        near(match.real.images, real.images + 0.1)
        for embedded, seen in zip(match.embedded, (match.real, match.synthetic), strict=True):
            near(embedded.detach(), method.network.embed(seen.images).detach())
        assert match.scale == classes  # A term of the whole set is added to each class's loss.
        calibration, seen = next(matches), synthetic.decode()
        errors = F.cross_entropy(method.network(seen.images + 0.3), seen.labels, reduction="none").detach()
        near(calibration.loss.detach(), torch.stack([errors[seen.labels == label].mean() for label in range(classes)]))
    assert len(set(method.augment.seeds)) == 2


class Rows:
    """Five networks of three rows each, which say which they are."""

    count, length = 5, 3

    def segment(self, number, start, end):
        return torch.tensor([number, start]), torch.tensor([number, end])


def test_any_network_is_drawn_from_its_first_row_to_its_last_at_any_blend(method_of):
    method = method_of("sgd")
    method.trained = Rows()
    drawn = [NCFM._models_at(method, iteration) for iteration in range(60)]
    assert {(*initial.tolist(), *trained.tolist()) for initial, trained in drawn} == {(n, 0, n, 2) for n in range(5)}
    blends = [NCFM._blend(method, iteration) for iteration in range(60)]
    assert len(set(blends)) == 60
    assert 0 <= min(blends) < 0.1 and 0.9 < max(blends) < 1


def test_frequencies_are_standard_normal_and_others_for_each_class_and_iteration(method_of):
    method = method_of("sgd", num_freqs=4000)
    like = torch.zeros(2, 3, dtype=torch.float64)
    drawn = [NCFM._frequencies(method, like, *at) for at in ((0, 0), (0, 1), (1, 0))]
    assert {tuple(each.shape) for each in drawn} == {(4000, 3)}
    assert {each.dtype for each in drawn} == {torch.float64}
    for number, each in enumerate(drawn):
        assert abs(float(each.mean())) < 0.03 and float(each.std()) == pytest.approx(1, abs=0.03)
        assert not any(torch.equal(each, other) for other in drawn[:number])
    assert torch.equal(drawn[0], NCFM._frequencies(method, like, 0, 0))


def test_learned_frequencies_are_moved_to_where_the_samples_differ_more_by_a_step_of_their_own(method_of):
    """The paper's min-max; Adam's first step is as long as the learning rate."""
    sampling = _Sampling(method_of("sgd").context, 0.004)
    size, generator = sampling.network.layers[0].in_features, torch.Generator().manual_seed(0)
    real, synthetic = (F.normalize(torch.randn(9, size, generator=generator) + shift, dim=1) for shift in (0.0, 0.3))

    def discrepancy():
        frequencies = sampling.frequencies(real, torch.Generator().manual_seed(1))
        return characteristic_discrepancy(real, synthetic, frequencies)

    first, parameters = discrepancy(), list(sampling.network.parameters())
    uphill = torch.autograd.grad(first, parameters, retain_graph=True)
    before = [each.detach().clone() for each in parameters]
    sampling.ascend(first)
    moved = [own.detach() - old for own, old in zip(parameters, before, strict=True)]
    assert max(float(each.abs().max()) for each in moved) == pytest.approx(0.004, rel=0.02)
    assert sum(float((up * each).sum()) for up, each in zip(uphill, moved, strict=True)) > 0
    again = _Sampling(method_of("sgd").context, 0.004)
    again.load_state({name: tensor.clone() for name, tensor in sampling.state().items()})
    for each in (sampling, again):  # A run that is killed goes on to the same bits.
        frequencies = each.frequencies(real, torch.Generator().manual_seed(2))
        each.ascend(characteristic_discrepancy(real, synthetic, frequencies))
    for name, tensor in sampling.state().items():
        assert torch.equal(tensor, again.state()[name]), name


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
