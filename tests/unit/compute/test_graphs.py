"""Steps replayed as CUDA graphs are those that would have been computed: shown by a stand-in for the graphs."""

import dataclasses

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from cmidd.compute import passes
from cmidd.compute.backward import Backward
from cmidd.compute.embeddings import Embedder
from cmidd.compute.engine import Engine, EngineSettings, choose, using
from cmidd.compute.graphs import MOST_SHAPES, Graphed
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.together import train_together
from cmidd.compute.training import Training, train, train_step
from cmidd.data.augmentation import Augmentation
from cmidd.data.split import Split
from cmidd.methods.mtt import StudentPasses, StudentStep, trajectory_distance
from cmidd.networks import build_network
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.graph_stand_in import stand_in
from tests.support.pretended import pretended_device

SHAPE, CLASSES = (3, 8, 8), 4
RANDOM = torch.Generator().manual_seed(0)
DATA = Split(torch.randn(20, *SHAPE, generator=RANDOM), torch.arange(20) % CLASSES)
RECIPE = TrainingRecipe(epochs=3, lr=0.05, batch=8)  # The last batch is smaller.


def network(seed=0, norm="instancenorm"):
    return build_network("convnet", SHAPE, CLASSES, Streams(seed)("network"), width=4, depth=2, norm=norm)


@pytest.fixture
def made(monkeypatch):
    """All graphs."""
    return stand_in(monkeypatch)


def same(one, other):
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


@pytest.mark.parametrize(
    ("changes", "norm"),
    [
        ({"schedule": "halfway", "epochs": 4}, "instancenorm"),
        ({"schedule": "cosine"}, "batchnorm"),
        ({"optimizer": "adam", "lr": 0.01}, "instancenorm"),
    ],
)
def test_a_replayed_training_ends_with_the_bits_of_any_other(made, changes, norm):
    recipe, eager, replayed = dataclasses.replace(RECIPE, **changes), network(norm=norm), network(norm=norm)
    train(eager, DATA, recipe, Streams(1), what=None)
    assert not made
    with using(Engine(graphs=True)):
        train(replayed, DATA, recipe, Streams(1), what=None)
    assert same(eager, replayed)
    passes = len(recipe.learning_rates)
    assert [graph.replays for graph in made] == [2 * passes, passes]  # Full batches, and smaller last ones.


@pytest.mark.parametrize("changes", [{"mixup": 0.8, "cutmix": 0.3}, {"augment": Augmentation()}])
def test_images_are_augmented_and_mixed_as_their_batch_is_and_not_as_at_the_capture(made, changes):
    recipe, eager, replayed = dataclasses.replace(RECIPE, **changes), network(), network()
    train(eager, DATA, recipe, Streams(1), what=None)
    with using(Engine(graphs=True)):
        train(replayed, DATA, recipe, Streams(1), what=None)
    torch.testing.assert_close(eager.state_dict(), replayed.state_dict(), rtol=1e-5, atol=1e-6)


def test_a_training_that_was_left_goes_on_in_new_graphs_to_the_same_bits(made):
    eager, left, resumed = network(), network(), network()
    train(eager, DATA, RECIPE, Streams(1), what=None)
    with using(Engine(graphs=True)):
        first = Training([left], RECIPE)
        next(first.epochs(DATA, [Streams(1)], what=None))
        resumed.load_state_dict(left.state_dict())
        second = Training([resumed], RECIPE)
        second.go_on(1, first.states())
        assert list(second.epochs(DATA, [Streams(1)], what=None)) == [2, 3]
    assert same(eager, resumed)


def test_several_networks_at_once_are_one_graph(made):
    eager, replayed = ([network(seed, "batchnorm") for seed in range(3)] for _ in range(2))
    streams = [Streams(seed) for seed in range(3)]
    train_together(eager, DATA, RECIPE, streams, what=None)
    with using(Engine(graphs=True)):
        train_together(replayed, DATA, RECIPE, streams, what=None)
    assert all(map(same, eager, replayed))
    assert [graph.replays for graph in made] == [6, 3]


def test_whoever_trains_many_networks_captures_once(made):
    ends = []
    for graphs in (False, True):
        backward, networks = Backward(RECIPE), [network(0), network(1)]
        optimizers = [RECIPE.new_optimizer(each) for each in networks]
        with using(Engine(graphs=graphs)):
            for step in range(4):
                which, batch = step % 2, DATA[torch.arange(step, step + 8)]
                generator = Streams(0)("step", step)
                train_step(networks[which], optimizers[which], batch, RECIPE, generator, backward=backward)
        ends.append(networks)
    assert all(map(same, *ends))
    assert [graph.replays for graph in made] == [4]


def test_a_trajectory_and_its_gradients_are_those_of_plain_passes(made):
    results, target = [], parameters_to_vector(network(1).parameters()).detach()
    for graphs in (False, True):
        images, syn_lr = DATA.images.clone().requires_grad_(), torch.tensor(0.1, requires_grad=True)
        passes = StudentPasses(network())
        start = parameters_to_vector(passes.network.parameters()).detach()
        chunks = torch.randperm(20, generator=torch.Generator().manual_seed(1)).split(8)  # 8, 8 and 4
        steps = [StudentStep(passes, chunk, DATA.labels[chunk]) for chunk in chunks]
        with using(Engine(graphs=graphs)):
            loss = trajectory_distance(images, syn_lr, start, target, steps)
            results.append((loss.detach(), *torch.autograd.grad(loss, (images, syn_lr))))
    assert all(map(torch.equal, *results))
    assert [graph.replays for graph in made] == [2, 1, 1, 2]  # Forward, then backward from the last step.


@pytest.mark.parametrize("norm", ["instancenorm", "batchnorm"])
@pytest.mark.parametrize("values", [2_000_000, 8 * 3 * 8 * 8])  # All images at once; and parts of 8, 8 and 4.
def test_embeddings_in_one_network_after_another_and_their_gradients_are_those_of_plain_passes(
    made, monkeypatch, values, norm
):
    monkeypatch.setattr(passes, "CHUNK_VALUES", values)
    results = []
    for graphs in (False, True):
        embedder, images = Embedder(), DATA.images.clone().requires_grad_()
        with using(Engine(graphs=graphs)):
            for seed in range(3):
                own = network(seed, norm).train(norm == "instancenorm").requires_grad_(False)
                for tensor in own.features[1].state_dict().values():
                    tensor.fill_(1 + seed)  # Of a batch norm these are buffers as well.
                target, embedded = embedder.real(own, DATA.images + seed), embedder.synthetic(own, images)
                loss = (target.mean(0) - embedded.mean(0)).square().sum()
                results.append((target, embedded.detach(), *torch.autograd.grad(loss, images)))
    for one, other in zip(results[:3], results[3:], strict=True):
        assert all(map(torch.equal, one, other))
    assert [graph.replays for graph in made] == [3, 3, 3]


def test_embeddings_in_networks_whose_buffers_change_are_computed_without_graphs(made):
    with using(Engine(graphs=True)):
        Embedder().real(network(norm="batchnorm"), DATA.images)
    assert not made


def test_further_shapes_are_computed_without_a_graph(made):
    graphed = Graphed(lambda images: (2 * images,))
    with using(Engine(graphs=True)):
        for size in (5, 4, 3, 5, 4, 3):
            given = torch.full((size,), float(size))
            assert torch.equal(graphed(given)[0], 2 * given)
    assert [graph.replays for graph in made] == [2] * MOST_SHAPES


def test_a_graph_is_captured_on_the_device_of_its_tensors_whichever_is_torchs_current_one(monkeypatch):
    stand_in(monkeypatch, computing=1)
    graphed = Graphed(lambda images: (2 * images,))
    with pretended_device("cuda", 1), using(Engine(graphs=True)):
        for value in (1.0, 2.0):
            found = graphed(torch.full((3,), value, device="cuda:1"))[0].cpu()
            assert torch.equal(found, torch.full((3,), 2 * value))


def test_only_cuda_has_graphs():
    with pytest.raises(SettingError, match=r"engine\.graphs=true: cpu has no CUDA graphs; give engine\.graphs=false"):
        choose(EngineSettings(graphs=True), torch.device("cpu"), values=0)
    assert choose(EngineSettings(graphs=True), torch.device("cuda"), values=0).graphs
