"""An evaluation has the words of a run: what a set says of itself holds, what is typed wins, and nothing is ignored."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import cmidd
from cmidd.analysis.evaluations.evaluate import _warn_of_batch_norm, networks_of, subjects
from cmidd.analysis.evaluations.foreign import _settings
from cmidd.cli.compose import compose
from cmidd.cli.old_words import as_of_a_run
from cmidd.data.load import load_dataset
from cmidd.evaluation import evaluate as evaluation
from cmidd.evaluation.selection import Tests, moments
from cmidd.runs.teaching import Mean
from cmidd.synthetic.exports import write
from cmidd.synthetic.foreign import Imported
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.evaluations import asked, evaluated, subject
from tests.support.layouts import banded, picture
from tests.support.refusals import refused
from tests.support.runs import Killed

ABOUT = {
    "data": {"name": "digits"},
    "network": {"name": "convnet", "width": 8, "depth": 1},
    "training": {"epochs": 2, "batch": 7, "augment": {"strategy": "crop"}},
    "method": "dm",
    "ipc": 1,
}


@pytest.fixture(scope="module")
def real_set():
    return dataclasses.replace(SyntheticSet.from_real(load_dataset("digits"), 1, Streams(0)("init")), about=ABOUT)


@pytest.fixture
def path(tmp_path, monkeypatch, real_set):
    """A set of ours, alone in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    real_set.save(tmp_path / "one.safetensors")
    return "one.safetensors"


@pytest.fixture
def tensors(path, real_set):
    """The same set as DATM's files."""
    torch.save(real_set.images, "images_best.pt")
    torch.save(6.0 * torch.nn.functional.one_hot(real_set.labels, 10), "labels_best.pt")
    torch.save(torch.tensor(0.02), "lr_best.pt")
    return "images_best.pt"


def pictures(folder, classes):
    """A data set of pictures, one of each class to train on and one to test on."""
    for name in classes:
        for part in ("train", "val"):
            (folder / part / name).mkdir(parents=True)
            banded(folder / part / name / "0")


# --- what holds, and what wins


def test_what_a_set_says_of_itself_holds_but_for_what_is_typed(path):
    plain = subject(path)
    assert (plain.subject.network, plain.protocol.repeats) == (ABOUT["network"], 5)
    assert (plain.protocol.training.epochs, plain.protocol.training.batch) == (2, 7)
    words = ["evaluation.training.epochs=3", "evaluation.training.augment.strategy=scale", "network.depth=2"]
    changed = subject(path, *words, "evaluation.repeats=9")
    assert changed.subject.network == {**ABOUT["network"], "depth": 2}
    expected = dataclasses.replace(
        plain.protocol.training,
        epochs=3,
        augment=dataclasses.replace(plain.protocol.training.augment, strategy="scale"),
    )
    assert changed.subject.recipe == expected
    assert changed.protocol.repeats == 9


def test_a_protocol_that_is_chosen_replaces_the_sets_own_with_the_values_of_its_method(path):
    found = subject(path, "evaluation=dsa", "evaluation.training.batch=3").protocol
    own = compose(["method=dsa", "dataset=digits", "ipc=1"]).evaluation
    assert found == dataclasses.replace(own, training=dataclasses.replace(own.training, batch=3))


def test_another_network_has_its_own_options_and_the_sets_own_keeps_them(path):
    found = subject(path, "network=mlp")
    assert found.subject.network == {"name": "mlp"}
    request = asked(f"synthetic={path}", "networks=[convnet,mlp,{name: convnet, depth: 2}]")
    options = networks_of(request, subject(path))
    assert list(options) == ["convnet", "mlp", "name=convnet depth=2"]
    assert options["convnet"] == ABOUT["network"]


@pytest.mark.parametrize("network, warned", [("resnet10", True), ("convnet", False)])
def test_batch_norm_that_a_network_has_by_itself_is_warned_of_as_well(path, caplog, network, warned):
    _warn_of_batch_norm(network, {"name": network}, subject(path))
    assert (f"network={network}: batch norm at one image per class" in caplog.text) == warned


def test_a_set_is_tested_on_ones_own_images_of_the_same_classes(path, tmp_path):
    pictures(tmp_path / "mine", map(str, range(10)))
    own = ["dataset=folder", "data.root=mine", "dataset.size=8", "dataset.channels=1"]
    found = subject(path, *own).subject
    assert (found.data.name, found.data.image_shape) == ("folder", (1, 8, 8))
    torch.testing.assert_close(found.data.preprocessing.tensors(), found.synthetic.transform.tensors())


def test_a_set_of_others_is_evaluated_on_ones_own_images_of_any_size(path, tmp_path):
    pictures(tmp_path / "mine", ("ant", "bee"))
    torch.save([torch.rand(2, 3, 48, 48), torch.arange(2)], "data_best.pt")
    own = ["dataset=folder", "data.root=mine", "dataset.size=48", "network.depth=4", "factor=1"]
    found = subject("data_best.pt", *own)
    assert found.subject.data.image_shape == (3, 48, 48)
    assert found.subject.network["depth"] == 4
    assert found.subject.synthetic.formation.factor == 1


def test_a_set_of_others_brings_its_soft_labels_its_step_size_and_its_protocol(tensors, real_set):
    found = subject(tensors, "dataset=digits", "method=datm")
    assert found.protocol.training.loss == "soft"
    assert found.protocol == compose(["evaluation=datm", "dataset=digits", "method=dm"]).evaluation
    assert found.settings.dataset["zca"] is True
    assert float(found.subject.synthetic.syn_lr) == pytest.approx(0.02)
    assert torch.equal(found.subject.synthetic.labels, real_set.labels)
    hard = subject(tensors, "dataset=digits", "method=datm", "evaluation=dc", "evaluation.training.lr=0.1")
    assert hard.protocol.training.loss == "hard"
    assert hard.subject.synthetic.syn_lr is None


@pytest.mark.parametrize("method", ["idc", "idm", "ncfm"])
def test_tiles_that_were_written_as_images_are_not_cut_once_more(path, tmp_path, caplog, method):
    caplog.set_level("INFO")
    pictures(tmp_path / "mine", ("ant", "bee"))
    own = ["dataset=folder", "data.root=mine", "dataset.size=32"]
    real = load_dataset("folder", root="mine", size=32)
    stored = torch.randn(2, 3, 32, 32), torch.arange(2)
    grids = SyntheticSet(*stored, real.preprocessing, real.classes, Formation(factor=2))
    grids.about = {"method": method, "dataset": "folder"}
    images = grids.decode().images
    write(grids, Path("dc"), "dc")
    found = subject(f"dc/res_{method.upper()}_Folder_ConvNet_4ipc.pt", *own)
    assert torch.equal(found.subject.synthetic.decode().images, images)
    assert found.settings.method["name"] == method
    assert "grids of" not in caplog.text
    write(grids, Path("mtt"), "mtt")
    words = ["mtt/images_best.pt", f"method={method}", *own]
    assert len(subject(*words).subject.synthetic.decode().images) == 4 * len(images)
    assert "mtt/images_best.pt: grids of 2 x 2 images (as the recipe has them; factor= says otherwise)" in caplog.text
    assert torch.equal(subject(*words, "factor=1").subject.synthetic.decode().images, images)
    assert caplog.text.count("grids of 2 x 2") == 1


@pytest.mark.parametrize("protocol", ["dm", "idm"])
def test_grids_of_others_are_evaluated_by_protocols_of_methods_that_have_none(path, real_set, protocol):
    Path("args.txt").write_text(json.dumps({"factor": 2}))  # The digits' recipe of IDC has whole images.
    torch.save([real_set.transform.inverse(real_set.images), real_set.labels], "data.pt")
    found = subject("data.pt", "dataset=digits", f"evaluation={protocol}")
    assert len(found.subject.synthetic.decode()) == 40
    own = compose([f"method={protocol}", "dataset=digits", "ipc=1"]).evaluation.training
    assert found.protocol.training == own


STATISTICS = {
    ("rded", "dataset=cifar10"): "imagenet",
    ("rded", "dataset=cifar100"): "imagenet",
    ("rded", "dataset=mnist"): "mnist",
    ("rded", "dataset=folder"): "train",
    ("sre2l", "dataset=cifar100"): "cifar10",
    ("sre2l", "dataset=cifar100 dataset.statistics=cifar100"): "cifar100",
    ("sre2l", "dataset=tiny_imagenet"): "imagenet",
    ("dm", "dataset=cifar100"): "cifar100",
}


@pytest.mark.parametrize("said", STATISTICS, ids=" ".join)
def test_pictures_are_normalised_as_in_their_makers_code_unless_it_is_typed(said):
    maker, words = said
    found = Imported(images=torch.rand(10, 3, 32, 32), labels=torch.arange(10), stored_as="pixels", maker=maker)
    request = asked("synthetic=pictures", *words.split())
    settings, _ = _settings(request, Path("pictures"), ["method=dm", "ipc=1"], found)
    assert settings.dataset["statistics"] == STATISTICS[said]


NORMS = {
    ("rded", ""): "batchnorm",
    ("sre2l", "network=resnet18"): "batchnorm",
    ("rded", "network.norm=instancenorm"): "instancenorm",
    ("rded", "network=vgg11"): "instancenorm",  # There VGG11 has no norm at all.
    ("dm", "network=resnet18"): "instancenorm",
}


@pytest.mark.parametrize("said", NORMS, ids=" ".join)
def test_networks_have_the_norm_of_a_sets_makers_code_unless_it_is_typed(said, caplog):
    caplog.set_level("INFO")
    maker, words = said
    found = Imported(images=torch.rand(10, 3, 32, 32), labels=torch.arange(10), stored_as="pixels", maker=maker)
    request = asked("synthetic=pictures", "dataset=cifar10", *words.split())
    settings, _ = _settings(request, Path("pictures"), ["method=dm", "ipc=1"], found)
    assert settings.network["norm"] == NORMS[said]
    assert ("as in its maker's code" in caplog.text) == (NORMS[said] == "batchnorm")


def test_so_have_several_networks_that_are_asked_for_by_name(tmp_path):
    place = tmp_path / "new"
    for label in range(10):
        picture(place / f"new{label:03d}" / f"class{label:03d}_id000.jpg", (25 * label,) * 3)
    several = "networks=[resnet18,convnet,{name: resnet18, norm: instancenorm}]"
    words = ["method=sre2l", "dataset=digits", "dataset.channels=3", "cmi.teacher=mlp", several]
    request = asked(f"synthetic={place}", *words)
    found = networks_of(request, subject(place, *words))
    assert [options["norm"] for options in found.values()] == ["batchnorm", "batchnorm", "instancenorm"]


# --- nothing is ignored


REFUSED = {
    "results_root=x": "changes no evaluation",
    "method.iterations=3": "changes no evaluation",
    "evaluation.interval=3": "changes no evaluation",
    "~network.depth": "remove it",
    "method=dm": "carries its own",
    "method=datm": "carries its own",
    "ipc=1": "carries its own",
    "recipe=dm_digits": "carries its own",
    "dataset.zca=true": "carries its own",
    "statistics=cifar10": "carries its own",
    "factor=2": "carries its own",
    "dataset=mnist": "carries its own",
    "dataset.augment=none": "evaluation.training.augment.strategy",
    "cmi.pool=1": "no teacher is asked for",
    "evaluation=rded": "no teacher is named",
    "evaluation.training.loss=soft": "hard labels alone",
    "evaluation.tests=9": "choose at most",
    "evaluation.selection=held_out": "evaluation.tests=1",
    "networks=[nosuch]": "unknown",
    "network=[mlp]": "give networks=[mlp]",
    "network={name: mlp}": "give networks=[{name: mlp}]",
    "maker=nosuch": "choose one of",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_cannot_be_or_would_change_nothing_is_refused_before_anything_is_trained(path, word):
    name = word.strip("~").partition("=")[0]
    refused("evaluate", word, lambda: next(subjects(asked(f"synthetic={path}", word))), name, REFUSED[word])


def test_a_typed_network_that_is_not_evaluated_is_refused(path):
    words = [f"synthetic={path}", "networks=[mlp]", "network.depth=2"]
    refused("evaluate", words, lambda: next(subjects(asked(*words))), "network.depth=2", "add convnet there")


def test_a_table_is_not_written_over_another_file(path):
    json_file = "table.json"
    with open(json_file, "w") as file:
        file.write("{}")
    words = [f"synthetic={path}", "to=table"]
    refused("evaluate", words, lambda: evaluated(*words), "to=table", "there already")


OLD = {
    "repeats=3": "evaluation.repeats=3",
    "training.lr=0.1": "evaluation.training.lr=0.1",
    "+training.schedule=constant": "++evaluation.training.schedule=constant",
    "zca=true": "dataset.zca=true",
    "statistics=cifar10": "dataset.statistics=cifar10",
    "factor=2": "++method.formation.factor=2",
    "network=mlp": "network=mlp",
    "method=idc": "method=idc",
    "method=dream": "method=idc maker=dream",
}


@pytest.mark.parametrize("word", OLD)
def test_an_earlier_word_becomes_that_of_a_run(word):
    assert " ".join(as_of_a_run([word])) == OLD[word]


def test_a_run_tests_its_networks_at_their_end_alone():
    for word in ("evaluation.tests=2", "evaluation.selection=held_out"):
        refused("evaluate", ("run", word), lambda word=word: compose([word]), word)
    assert not {"tests", "selection"} & set(compose(["method=dm"]).identity["evaluation"])


# --- several sets, networks and tests


def test_a_killed_table_of_several_sets_and_networks_goes_on_to_the_same_bits(path, tmp_path, monkeypatch, real_set):
    dataclasses.replace(real_set, leaf=real_set.leaf.flip(3)).save(tmp_path / "two.safetensors")
    words = ["synthetic=[one.safetensors,two.safetensors]", "networks=[convnet,mlp]", "evaluation.repeats=2"]
    whole, page = evaluated(*words, "to=whole")
    trained, train = [], evaluation.train_through

    def dying(*given, **how):
        if len(trained) == 5:
            raise Killed
        trained.append(train(*given, **how))

    monkeypatch.setattr(evaluation, "train_through", dying)
    with pytest.raises(Killed):
        evaluated(*words)
    assert {file.name for file in tmp_path.glob("*.evaluating.json")} == {
        "one.evaluating.json",
        "two.evaluating.json",
    }
    monkeypatch.setattr(evaluation, "train_through", lambda *given, **how: trained.append(train(*given, **how)))
    record, again = evaluated(*words)
    assert len(trained) == 8
    assert again == page
    assert {name: each["accuracies"] for name, each in record["sets"].items()} == {
        name: each["accuracies"] for name, each in whole["sets"].items()
    }
    assert [line.split("|")[1:4] for line in page.splitlines() if ".safetensors |" in line] == [
        [f" {name}.safetensors ", " digits ", f" {network} "]
        for name in ("one", "two")
        for network in ("convnet", "mlp")
    ]
    assert (tmp_path / "one.evaluation1.json").exists()
    assert not list(tmp_path.glob("*.evaluating.json"))


def test_ours_and_others_stand_in_one_table_and_what_is_typed_of_others_is_not_of_ours(path, tensors):
    words = [f"synthetic=[{path},{tensors}]", "method=datm", "dataset=digits", "evaluation.training.epochs=1"]
    record, _ = evaluated(*words, "networks=[mlp]", "evaluation.repeats=1")
    losses = [each["training"].get("loss", "hard") for each in record["sets"].values()]
    assert losses == ["hard", "soft"]


def test_the_title_names_the_part_that_sets_are_tested_on_and_their_rows_do_where_it_differs(
    path, tmp_path, tensors, real_set
):
    real_set.save(tmp_path / "two.safetensors")
    words = ["networks=[mlp]", "evaluation.repeats=1", "evaluation.training.epochs=2", "dataset.validation=0.2"]
    both = f"synthetic=[{path},two.safetensors]"
    record, page = evaluated(both, *words, "evaluation.tests=2")
    assert page.startswith("Accuracy on the validation set, per cent: ")
    assert "| data set | network | accuracy | best of 2 tests, picked on the validation set |" in page
    assert {each["tested_on"] for each in record["sets"].values()} == {"validation"}
    assert "\n| one.safetensors | digits | mlp | " in page
    # What is typed of others is not of ours.
    _, page = evaluated(f"synthetic=[{path},{tensors}]", "method=datm", "dataset=digits", *words)
    assert page.startswith("Accuracy on the test/validation set, per cent: ")
    assert "\n| one.safetensors | digits, test set | mlp | " in page
    assert "\n| images_best.pt | digits, validation set | mlp | " in page


def test_more_tests_leave_the_figure_as_it_is_and_the_best_is_called_picked_on_the_test_set(path):
    words = [f"synthetic={path}", "network=mlp", "evaluation.repeats=2", "evaluation.training.epochs=4"]
    alone, _ = evaluated(*words)
    record, page = evaluated(*words, "evaluation.tests=4")
    assert record["accuracies"] == alone["accuracies"]
    assert [len(tests) for tests in record["tests"]["mlp"]] == [4, 4]
    assert [tests[-1] for tests in record["tests"]["mlp"]] == alone["accuracies"]["mlp"]
    assert record["best_of_tests_picked_on_the_test_set"]["mlp"] == [max(tests) for tests in record["tests"]["mlp"]]
    assert "| network | accuracy | best of 4 tests, picked on the test set |" in page


def test_a_held_out_part_of_the_training_set_chooses_the_test_that_counts(path):
    words = [f"synthetic={path}", "network=mlp", "evaluation.repeats=2", "evaluation.training.epochs=4"]
    words += ["evaluation.tests=4", "evaluation.selection=held_out"]
    record, page = evaluated(*words)
    rows = zip(record["tests"]["mlp"], record["held_out"]["mlp"], strict=True)
    assert record["accuracies"]["mlp"] == [tests[chosen.index(max(chosen))] for tests, chosen in rows]
    assert "best on a held-out part of the training set" in page
    request = asked(*words, "dataset.validation=0.25")
    (found,) = subjects(request)
    assert (found.subject.data.held_out, len(found.subject.data.test)) == ("test", 359)
    assert len(found.subject.held_out) == pytest.approx(0.25 * len(found.subject.data.train), rel=0.05)


def test_tests_are_at_equal_distances_and_the_first_best_one_counts():
    assert [moments(10, tests) for tests in (1, 2, 3, 10)] == [[], [5], [4, 7], list(range(1, 10))]
    assert Tests.of([1.0, 2.0, 3.0], 3).figure == 3.0
    assert Tests.of([1.0, 2.0, 3.0, 50.0, 70.0, 70.0], 3).figure == 2.0


# --- teachers, and Python


def test_a_teacher_is_the_mean_of_the_logits_of_a_pool_that_is_made_like_a_runs(path, tmp_path):
    two = [torch.nn.Flatten(), torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Hardtanh())]
    images = torch.randn(3, 1, 2, 2)
    torch.testing.assert_close(Mean(two)(images), (two[0](images) + two[1](images)) / 2)
    words = ["evaluation=rded", "evaluation.training.epochs=1", "cmi.teacher=mlp", "cmi.pool=2", "cmi.epochs=1"]
    record, _ = evaluated(f"synthetic={path}", *words, "network=mlp", "evaluation.repeats=1")
    assert record["training"]["targets"] == "teacher"
    assert (record["teacher"]["network"], record["teacher"]["count"]) == ("mlp", 2)
    assert len(list((tmp_path / "buffers" / "teachers").rglob("teacher_*.safetensors"))) == 2


def test_several_sets_from_python_give_their_accuracies_by_path(path, real_set, tmp_path):
    few = {"networks": ["mlp"], "repeats": 1, "evaluation": {"training": {"epochs": 1}}}
    found = cmidd.evaluate([path, real_set], **few)
    assert list(found) == [path, "set 2 in memory"]
    assert found[path] == found["set 2 in memory"] == cmidd.evaluate(path, **few)
    assert [file.name for file in tmp_path.iterdir()] == ["one.safetensors"]
    with pytest.raises(cmidd.SettingError, match="give networks="):
        cmidd.evaluate(path, network=["mlp"])
    assert json.dumps(found)
