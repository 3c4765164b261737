"""Networks trained on soft labels: a set's own, and those that a teacher gives to what the network sees."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from cmidd import load_synthetic
from cmidd.cli.compose import compose
from cmidd.compute import training
from cmidd.compute.backward import Backward
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.training import Training, predictions, train
from cmidd.core.context import new_network
from cmidd.data.augmentation import Augmentation
from cmidd.data.load import load_dataset
from cmidd.data.split import Split
from cmidd.evaluation.evaluate import evaluate
from cmidd.evaluation.train_on_set import stages_of
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

DIGITS = load_dataset("digits")
SMALL = {"name": "convnet", "width": 8, "depth": 1}
RECIPE = TrainingRecipe(epochs=6, lr=0.05, batch=10, augment=Augmentation("crop_flip", composition="each"))
SETTINGS = {"soft": {}, "kl": {"temperature": 2.0}, "mse": {}}


def distilled():
    return SyntheticSet.from_real(DIGITS, 2, Streams(0)("init"))


def three_always(images):
    return torch.nn.functional.one_hot(torch.full((len(images),), 3), 10) * 9.0


def trained(data, recipe, teacher=None):
    network = new_network(DIGITS, SMALL, Streams(0)("network"))
    train(network, data, recipe, Streams(0), what=None, teacher=teacher)
    return network


@pytest.mark.parametrize("loss", SETTINGS)
@pytest.mark.parametrize("targets", ["set", "teacher"])
@pytest.mark.parametrize("mixed", ["cutmix", "mixup", "not mixed"])
def test_a_network_learns_what_its_soft_labels_say_and_not_the_class(loss, targets, mixed):
    data = distilled().decode()
    labelled = Split(data.images, data.labels, soft=three_always(data.images))
    changes = SETTINGS[loss] | ({mixed: 1.0} if mixed != "not mixed" else {})
    recipe = dataclasses.replace(RECIPE, loss=loss, targets=targets, **changes)
    given, teacher = (labelled, None) if targets == "set" else (data, three_always)
    assert (predictions(trained(given, recipe, teacher), data) == 3).all()


def test_a_teacher_sees_the_augmented_and_mixed_images_that_the_network_sees(monkeypatch):
    seen, asked, logits = [], [], training.passes.logits
    monkeypatch.setattr(
        training.passes, "logits", lambda network, images: logits(network, seen.append(images) or images)
    )
    recipe = dataclasses.replace(RECIPE, epochs=2, loss="kl", targets="teacher", cutmix=0.5, mixup=0.8)
    data = distilled().decode()
    trained(data, recipe, lambda images: three_always(asked.append(images) or images))
    assert len(asked) == len(seen) == 4
    assert all(map(torch.equal, asked, seen))
    assert not torch.equal(torch.cat(seen)[:20], data.images)


def test_corrected_labels_are_asked_for_once_and_the_last_epochs_have_the_classes_alone(monkeypatch):
    data, asked, losses = distilled().decode(), [], []
    call = Backward.__call__
    monkeypatch.setattr(
        Backward, "__call__", lambda self, *given: losses.append((self.recipe.loss, given[3])) or call(self, *given)
    )
    recipe = dataclasses.replace(RECIPE, batch=20, epochs=5, loss="soft", targets="corrected", hard_epochs=2)
    accuracy = evaluate(
        DIGITS,
        SMALL,
        [(data, recipe)],
        1,
        Streams(0),
        teacher=lambda images: three_always(asked.append(images) or images),
    )
    assert len(asked) == 1
    assert torch.equal(asked[0], data.images)
    assert [loss for loss, _ in losses] == ["soft"] * 3 + ["hard"] * 2
    threes = data.labels == 3
    labels = torch.where(threes[:, None], three_always(data.labels), F.one_hot(data.labels, 10).float())
    assert torch.equal(losses[0][1].sort(0).values, labels.sort(0).values)  # In the order of the batch.
    plain = dataclasses.replace(recipe, loss="hard", targets="set", hard_epochs=0)
    assert accuracy != evaluate(DIGITS, SMALL, [(data, plain)], 1, Streams(0))


def test_a_training_that_is_gone_on_with_in_its_hard_epochs_ends_in_the_same_bits():
    data = Split(distilled().decode().images, distilled().decode().labels, soft=torch.zeros(20, 10))
    recipe = dataclasses.replace(RECIPE, loss="soft", hard_epochs=3)
    straight = trained(data, recipe)
    for stop in (2, 4):
        first = Training([new_network(DIGITS, SMALL, Streams(0)("network"))], recipe)
        next(done for done in first.epochs(data, [Streams(0)], what=None) if done == stop)
        second = Training(first.networks, recipe)
        second.go_on(stop, first.states())
        list(second.epochs(data, [Streams(0)], what=None))
        for ours, theirs in zip(first.networks[0].parameters(), straight.parameters(), strict=True):
            assert torch.equal(ours, theirs)


def test_a_set_with_soft_labels_is_evaluated_on_them_where_the_recipe_says_so_and_else_on_the_hard_ones(tmp_path):
    plain = distilled()
    softly = dataclasses.replace(plain, soft_labels=SoftLabels(three_always(plain.labels), "logits"))
    softly.save(tmp_path / "set.safetensors")
    loaded = load_synthetic(tmp_path / "set.safetensors")

    def accuracies(synthetic, recipe):
        return evaluate(DIGITS, SMALL, stages_of(synthetic, recipe), 2, Streams(0))

    assert accuracies(loaded, RECIPE) == accuracies(plain, RECIPE)
    share_of_threes = 100 * float((DIGITS.test.labels == 3).float().mean())
    on_soft = accuracies(loaded, dataclasses.replace(RECIPE, loss="soft"))
    assert on_soft == pytest.approx([share_of_threes] * 2)
    taught = dataclasses.replace(RECIPE, loss="soft", targets="teacher")
    assert evaluate(DIGITS, SMALL, stages_of(plain, taught), 1, Streams(0), teacher=three_always) == on_soft[:1]
    with pytest.raises(SettingError, match=r"^evaluation\.training\.loss=soft: the images have hard labels alone"):
        accuracies(plain, dataclasses.replace(RECIPE, loss="soft"))


PROTOCOLS = {  # as their code has them: epochs, optimiser, lr, weight decay, schedule, batch at IPC 10, loss
    "dc": (300, "sgd", 0.01, 5e-4, "halfway", 256, "hard"),
    "dsa": (1000, "sgd", 0.01, 5e-4, "halfway", 256, "hard"),
    "dm": (1000, "sgd", 0.01, 5e-4, "halfway", 256, "hard"),
    "mtt": (1000, "sgd", 0.01, 5e-4, "halfway", 256, "hard"),
    "idc": (1000, "sgd", 0.01, 5e-4, "late", 64, "hard"),
    "idm": (1000, "sgd", 0.01, 5e-4, "halfway", 256, "hard"),
    "datm": (1000, "sgd", 0.01, 5e-4, "halfway", 128, "soft"),
    "rded": (300, "adamw", 0.001, 0.01, "half_cosine", 50, "kl"),
    "sre2l": (400, "adamw", 0.001, 0.01, "cosine", 128, "kl"),
    "ncfm": (2000, "adamw", 0.001, 0.01, "fifths", 128, "hard"),
    "ncfm_soft": (2000, "adamw", 0.001, 0.01, "fifths", 128, "soft"),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_protocol_is_the_published_one_for_another_method_too(name):
    words = [f"method={'mtt' if name == 'dc' else 'dc'}", "dataset=cifar10", "ipc=10", f"evaluation={name}"]
    found = compose(words).evaluation.training
    said = (found.epochs, found.optimizer, found.lr, found.weight_decay, found.schedule, found.batch, found.loss)
    assert said == PROTOCOLS[name]
    dsa = "color_crop_cutout_flip_scale_rotate"
    # NCFM takes cutout off its configs' strategy where batches are mixed (utils/init_script.py:160-163).
    decoded = dict.fromkeys(("idc", "ncfm", "ncfm_soft"), "color_crop_flip_scale_rotate")
    others = {"dc": "none", **decoded, "rded": "shuffle_zoom_flip", "sre2l": "crop_flip"}
    assert found.augment.strategy == others.get(name, dsa)
    assert (found.cutmix, found.mixup) == {
        **dict.fromkeys(decoded, (0.5, 0.0)),
        **{"rded": (1.0, 0.0), "sre2l": (0.0, 0.8)},
    }.get(name, (0.0, 0.0))
    taught = {"rded": ("teacher", 20.0), "sre2l": ("teacher", 30.0), "ncfm_soft": ("corrected", 1.0)}
    assert (found.targets, found.temperature) == taught.get(name, ("set", 1.0))
    assert found.hard_epochs == (101 if name == "ncfm_soft" else 0)


def test_protocols_have_imagenets_numbers_for_its_subsets():
    found = {
        name: compose(["dataset=imagenette", f"evaluation={name}"]).evaluation.training for name in ("rded", "sre2l")
    }
    assert (found["rded"].augment.patches, found["rded"].augment.smallest) == (2, 0.5)
    said = (found["sre2l"].epochs, found["sre2l"].batch, found["sre2l"].temperature, found["sre2l"].cutmix)
    assert said == (300, 1024, 20.0, 1.0)


def test_the_augmentation_of_matching_is_that_of_the_methods_own_protocol_and_of_no_other():
    words = ["method=dm", "dataset=cifar10", "method.augment.strategy=flip"]
    assert compose(words).evaluation.training.augment.strategy == "flip"
    assert compose([*words, "evaluation=dsa"]).evaluation.training.augment.strategy.startswith("color_crop")
    own = compose(["method=dm", "evaluation.training.augment.strategy=flip"])
    assert own.evaluation.training.augment.strategy == "flip"
    assert own.method["augment"]["strategy"] != "flip"
