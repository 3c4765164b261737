"""Several networks trained at once are those trained one after another, within rounding."""

import dataclasses
import json
from functools import partial

import pytest
import torch
from torch import nn

from cmidd.buffers.experts import ExpertRecipe, Experts, ExpertSettings
from cmidd.buffers.teachers import TeacherPool
from cmidd.compute import kept, together
from cmidd.compute.engine import Engine, EngineSettings, choose, using
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.together import TogetherTraining, how_many_at_once, new_training, train_together
from cmidd.compute.training import predictions, train
from cmidd.data.augmentation import Augmentation
from cmidd.data.split import Split
from cmidd.evaluation import evaluate as evaluation
from cmidd.evaluation.evaluate import TrainAndTest, evaluate_tests
from cmidd.evaluation.train_on_set import train_through
from cmidd.networks import blank_network, build_network
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.contexts import context
from tests.support.pretended import pretended_device
from tests.support.runs import Killed

SHAPE, CLASSES, MEMBERS = (3, 16, 16), 4, 3
RANDOM = torch.Generator().manual_seed(0)
DATA = Split(torch.randn(22, *SHAPE, generator=RANDOM), torch.arange(22) % CLASSES)
SOFT = Split(DATA.images, DATA.labels, soft=torch.randn(22, CLASSES, generator=RANDOM))
RECIPE = TrainingRecipe(epochs=3, lr=0.05, batch=8)  # The last batch is smaller.
STREAMS = [Streams(seed) for seed in range(MEMBERS)]


def networks(name="convnet", **options):
    options = {"width": 8, "depth": 2, **options} if name == "convnet" else options
    return [build_network(name, SHAPE, CLASSES, own("network"), **options) for own in STREAMS]


def in_float64(split):
    """With so many digits that rounding, which Adam and batch norm make large, stays small."""
    return Split(split.images.double(), split.labels, soft=None if split.soft is None else split.soft.double())


def teacher(images):
    """Two pixels of an image and their negatives, in logits."""
    return torch.stack([s * images[:, 0, i, i] for i in (3, 7) for s in (1, -1)], 1)


@pytest.mark.parametrize(
    ("options", "changes", "data"),
    [
        ({}, {}, DATA),
        ({}, {"augment": Augmentation(), "schedule": "halfway"}, DATA),
        ({}, {"augment": Augmentation("crop_flip_color", composition="each"), "cutmix": 0.5}, DATA),
        ({}, {"mixup": 0.8, "optimizer": "adamw", "schedule": "cosine", "lr": 0.01}, DATA),
        ({}, {"loss": "kl", "temperature": 3.0, "hard_share": 0.2, "cutmix": 1.0}, SOFT),
        ({}, {"loss": "soft", "targets": "teacher", "mixup": 0.4}, DATA),
        ({"norm": "batchnorm"}, {}, DATA),
        ({"norm": "layernorm", "pooling": "max", "activation": "swish"}, {"momentum": 0.0}, DATA),
        ({"name": "resnetap10", "width": 4}, {"epochs": 2}, DATA),
    ],
)
def test_each_is_the_network_that_would_have_been_trained_by_itself(options, changes, data):
    recipe, data = dataclasses.replace(RECIPE, **changes), in_float64(data)
    test = Split(data.images.flip(3), data.labels)
    singly, at_once = ([network.double() for network in networks(**options)] for _ in range(2))
    for network, own in zip(singly, STREAMS, strict=True):
        train(network, data, recipe, own, what=None, teacher=teacher)
    train_together(at_once, data, recipe, STREAMS, what=None, teacher=teacher)
    for one, other in zip(singly, at_once, strict=True):
        assert one.state_dict().keys() == other.state_dict().keys()
        for name, value in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-6, atol=1e-9, msg=name)
        assert torch.equal(predictions(one, test), predictions(other, test))
    assert not torch.allclose(at_once[0].classifier.weight, at_once[1].classifier.weight)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_within_the_rounding_of_the_engine_they_have_the_same_gradients(precision):
    singly, at_once, start = networks(), networks(), networks()
    with using(Engine(precision)):
        for network, own in zip(singly, STREAMS, strict=True):
            train(network, DATA, dataclasses.replace(RECIPE, epochs=1), own, what=None)
        train_together(at_once, DATA, dataclasses.replace(RECIPE, epochs=1), STREAMS, what=None)
    for one, other, before in zip(*map(flat, (singly, at_once, start)), strict=True):
        assert (one - other).norm() < {"float32": 1e-5, "bf16": 0.1}[precision] * (one - before).norm()


def flat(networks):
    return [nn.utils.parameters_to_vector(network.parameters()).detach() for network in networks]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_it_goes_on_with_what_each_optimiser_remembered_to_the_same_bits(optimizer):
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer, lr=0.01)
    whole, left, resumed = networks(), networks(), networks()
    train_together(whole, DATA, recipe, STREAMS, what=None)
    first = TogetherTraining(left, recipe)
    assert next(first.epochs(DATA, STREAMS, what=None)) == 1
    for network, so_far in zip(resumed, left, strict=True):
        network.load_state_dict(so_far.state_dict())
    second = TogetherTraining(resumed, recipe)
    second.go_on(1, first.states())
    assert list(second.epochs(DATA, STREAMS, what=None)) == [2, 3]
    for one, other in zip(whole, resumed, strict=True):
        assert all(map(torch.equal, one.parameters(), other.parameters()))


def test_what_is_remembered_is_carried_from_stage_to_stage():
    stages = [(DATA, RECIPE), (DATA[:9], RECIPE)]
    singly, at_once = networks(), networks()
    for network, own in zip(singly, STREAMS, strict=True):
        train_through([network], stages, [own], what=None, optimizer="carried")
    train_through(at_once, stages, STREAMS, what=None, optimizer="carried")
    for one, other in zip(singly, at_once, strict=True):
        torch.testing.assert_close(list(other.parameters()), list(one.parameters()), rtol=1e-5, atol=1e-5)


def test_an_evaluation_at_once_has_the_accuracies_of_one_by_one_and_keeps_them_by_groups(tmp_path, monkeypatch):
    world, kept_in, groups = context(tmp_path, ipc=3, depth=1), tmp_path / "kept.json", []
    stages = [(world.synthetic.decode(), TrainingRecipe(epochs=3, augment=Augmentation("flip_scale")))]
    worth = partial(evaluate_tests, TrainAndTest(world.data, world.network, stages, tests=2), 5, Streams(0))
    through = evaluation.train_through
    monkeypatch.setattr(
        evaluation, "train_through", lambda some, *a, **b: groups.append(len(some)) or through(some, *a, **b)
    )
    singly = worth()
    with using(Engine(at_once=2)):
        at_once = worth(kept=kept_in)
    assert groups == [1] * 5 + [2, 2, 1]
    for one, other in zip(singly, at_once, strict=True):
        assert one.tested == pytest.approx(other.tested, abs=0.3)  # One of 359 images.
    (row,) = json.loads(kept_in.read_text()).values()
    kept_in.write_text(json.dumps(dict.fromkeys(json.loads(kept_in.read_text()), row[:4])))
    with using(Engine(at_once=2)):
        assert worth(kept=kept_in) == at_once
    assert groups[-2:] == [2, 1]


def dying_after(monkeypatch, writes):
    """Have the process die in a write of tensors after so many; returns what undoes that."""
    whole, left = tensor_files.write_tensors, iter(range(writes))

    def write(*given):
        if next(left, None) is None:
            raise Killed
        whole(*given)

    monkeypatch.setattr(tensor_files, "write_tensors", write)
    return lambda: monkeypatch.setattr(tensor_files, "write_tensors", whole)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_experts_at_once_are_those_of_one_by_one_also_where_some_are_further(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.0)
    asked = ExpertSettings(3, ExpertRecipe(epochs=3, batch=512, momentum=0.9), dtype)
    singly = Experts(context(tmp_path / "singly", depth=1), asked)
    with using(Engine(at_once=3)):
        revive = dying_after(monkeypatch, 4)  # Of one expert there are two epochs then, of the others one.
        with pytest.raises(Killed):
            Experts(context(tmp_path / "once", depth=1), asked)
        revive()
        rows = [tensor_files.read_shapes(path)[0]["trajectory"][0] for path in (tmp_path / "once").rglob("expert_*")]
        assert sorted(rows) == [2, 2, 3]
        at_once = Experts(context(tmp_path / "once", depth=1), asked)
    for one, other in zip(singly.paths, at_once.paths, strict=True):
        assert (one.parent.name, one.name) == (other.parent.name, other.name)
        (theirs, said), (ours, ours_said) = (tensor_files.read_tensors(path) for path in (one, other))
        assert (theirs.keys(), said) == (ours.keys(), ours_said)
        for name, value in theirs.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4 if dtype == "float16" else 1e-6)


def test_teachers_at_once_are_those_of_one_by_one_and_go_on_from_what_there_is_of_each(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.0)
    singly = TeacherPool(context(tmp_path / "singly", depth=1), "convnet", 3, 3)
    with using(Engine(at_once=2)):
        revive = dying_after(monkeypatch, 3)
        with pytest.raises(Killed):
            TeacherPool(context(tmp_path / "once", depth=1), "convnet", 3, 3)
        revive()
        unfinished = (tmp_path / "once").rglob("*.unfinished.safetensors")
        assert sorted(tensor_files.read_tensors(path)[1]["epoch"] for path in unfinished) == [1, 2]
        at_once = TeacherPool(context(tmp_path / "once", depth=1), "convnet", 3, 3)
    assert not list((tmp_path / "once").rglob("*.unfinished.safetensors"))
    for one, other in zip(singly.networks, at_once.networks, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-4, atol=1e-6)
    assert singly.about["accuracies"] == pytest.approx(at_once.about["accuracies"], abs=0.3)


def test_on_a_card_nobody_waits_and_five_networks_take_less_than_half_the_kernels():
    launched = []
    for kind in ("singly", "at once"):
        with pretended_device("cuda") as counts, using(Engine("tf32")):
            cuda = torch.device("cuda")
            data, recipe = Split(DATA.images.to(cuda), DATA.labels.to(cuda)), dataclasses.replace(RECIPE, batch=32)
            own = [Streams(seed) for seed in range(5)]
            trained = [build_network("convnet", SHAPE, CLASSES, one("network"), cuda, width=4, depth=2) for one in own]
            groups = [slice(0, 5)] if kind == "at once" else [slice(each, each + 1) for each in range(5)]
            trainings = [new_training(trained[some], recipe) for some in groups]
            epochs = [
                training.epochs(data, own[some], what=None) for training, some in zip(trainings, groups, strict=True)
            ]
            for each in epochs:
                next(each)  # The first makes what the optimiser remembers.
            before = counts.syncs, counts.launched.total()
            for each in epochs:
                assert list(each) == [2, 3]
            assert counts.syncs == before[0]
            launched.append((counts.launched.total() - before[1]) / 2)
    assert launched[1] < 0.45 * launched[0], launched


class Dropping(nn.Sequential):
    """Draws random numbers of its own, which networks computed at once cannot do each by itself."""

    def __init__(self):
        super().__init__(nn.Dropout(), nn.Flatten(), nn.Linear(3 * 16 * 16, CLASSES))


class Deciding(nn.Linear):
    """Computes by the values that it sees."""

    def forward(self, images):
        return super().forward(images.flatten(1)) if images.sum() > 0 else images.flatten(1)[:, :CLASSES]


def test_networks_that_cannot_be_computed_at_once_are_trained_one_after_another():
    with using(Engine(at_once=4)):
        assert how_many_at_once(Dropping(), RECIPE, DATA) == 1
        assert how_many_at_once(Deciding(3 * 16 * 16, CLASSES), RECIPE, DATA) == 1
        assert how_many_at_once(blank_network("convnet", SHAPE, CLASSES), RECIPE, DATA) == 4


def test_by_itself_a_card_trains_as_many_at_once_as_do_not_keep_it_busy(monkeypatch):
    cuda, auto = torch.device("cuda"), EngineSettings()
    assert choose(auto, cuda, values=0).at_once == "auto"
    assert choose(auto, torch.device("cpu"), values=0) == Engine()
    assert choose(EngineSettings(deterministic=True), cuda, values=0).at_once == 1
    with pytest.raises(SettingError, match=r"engine\.at_once=5: .* give engine\.at_once=1, or engine\.deterministic"):
        choose(EngineSettings(deterministic=True, at_once=5), cuda, values=0)
    convnet, shape = blank_network("convnet", (3, 32, 32), 10), (3, 32, 32)
    with using(choose(auto, cuda, values=0)):

        def count(images, network=convnet, batch=256):
            data = Split(torch.empty(images, *shape, device="meta"), torch.empty(images, device="meta"))
            return how_many_at_once(network, TrainingRecipe(batch=batch), data)

        assert (
            count(10) == together.MOST_PARAMETERS // 320_010
        )  # IPC 1 of CIFAR10: as many as there are parameters for.
        assert count(100) == 6
        assert (count(50_000), count(50_000, batch=1000)) == (2, 1)
        assert count(10, blank_network("resnet18", shape, 10)) == 1
