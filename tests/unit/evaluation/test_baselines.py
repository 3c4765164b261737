"""Baselines of real images that a rule chooses: which sets, in whose features, kept and gone on with."""

import errno
import json
from dataclasses import replace

import pytest
import torch

from cmidd.buffers.experts import Experts
from cmidd.buffers.teachers import pool_files, teacher_recipe
from cmidd.compute import kept
from cmidd.compute.embeddings import embed_real
from cmidd.compute.recipe import TrainingRecipe
from cmidd.evaluation import baselines as of_baselines
from cmidd.evaluation import chosen_images as choosing
from cmidd.evaluation import feature_networks as of_features
from cmidd.evaluation.baselines import baseline_file, baselines
from cmidd.evaluation.chosen_images import chosen_images
from cmidd.evaluation.coresets import herding
from cmidd.evaluation.feature_networks import WatchedNetwork, feature_files, feature_networks
from cmidd.evaluation.protocols import EvaluationProtocol, FeatureSettings
from cmidd.utils import locks, tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.contexts import SETTINGS, context
from tests.support.refusals import script
from tests.support.runs import TINY, TINY_METHOD, Killed, again, run_here

SHORT = TrainingRecipe(epochs=1)
ALL = ("herding", "kcenter", "forgetting", "kmeans")
FEATURES = FeatureSettings(epochs=2)
PROTOCOL = EvaluationProtocol(3, 1, SHORT, SHORT, baselines=ALL, features=FEATURES)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One in which the first feature network is trained once, by whoever asks first."""
    return context(tmp_path_factory.mktemp("buffers"), depth=1)


def refused_call(*_, **__):
    raise AssertionError("made once more")


# --- keys


def test_the_keys_of_random_and_whole_are_those_of_before_there_were_others(tmp_path):
    protocol = EvaluationProtocol(3, 1, SHORT, TrainingRecipe(epochs=2), features=FeatureSettings(lr=0.5))
    names = [baseline_file(context(tmp_path), protocol, 2, kind)[0].name for kind in ("random", "whole")]
    assert names == ["digits_random_4673d2f48df4.json", "digits_whole_f485c6a3081a.json"]  # of commit 220f146


def test_a_chosen_baseline_depends_on_its_features_and_on_the_training(world):
    other = replace(PROTOCOL, features=replace(FEATURES, epochs=3))
    longer = replace(PROTOCOL, training=TrainingRecipe(epochs=2))
    paths = {baseline_file(world, each, 2, "herding")[0] for each in (PROTOCOL, other, longer)}
    assert len(paths) == 3


def test_what_fills_batches_of_small_classes_is_in_the_keys_of_the_images_that_are_chosen_and_of_no_network(tmp_path):
    plain = context(tmp_path)
    world = replace(plain, data_key={**plain.data_key, "fill": "repeat"})
    assert world.made_by == plain.made_by
    of_networks = [
        lambda each: Experts(each, SETTINGS, make=False).folder,
        lambda each: pool_files(each, "convnet", 1, teacher_recipe(1)),
        lambda each: feature_files(each, FEATURES),
        lambda each: baseline_file(each, PROTOCOL, 2, "whole"),
    ]
    of_images = [lambda each, kind=kind: baseline_file(each, PROTOCOL, 2, kind)[0] for kind in ("random", *ALL)]
    of_images += [lambda each, kind=kind: choosing.sets_file(each, PROTOCOL, 2, kind)[0] for kind in ALL]
    assert all(named(world) == named(plain) for named in of_networks)
    assert not any(named(world) == named(plain) for named in of_images)


# --- networks


def test_forgetting_counts_how_often_right_was_followed_by_wrong(monkeypatch, world):
    data = world.data.train[torch.arange(4)]
    right = [[0, 1, 1, 0], [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]
    epochs = iter(torch.where(torch.tensor(row, dtype=torch.bool), data.labels, data.labels + 1) for row in right)
    monkeypatch.setattr(of_features, "predictions", lambda *_: next(epochs))
    watched = WatchedNetwork(world.new_network(Streams(0)("network")), 4, data.device)
    for _ in right:
        watched.look(data)
    assert watched.forgotten.tolist() == [0, 2, 1, 0]
    assert watched.training


def test_features_that_are_stopped_in_training_go_on_to_the_same_network_and_counts(tmp_path, monkeypatch):
    settings = FeatureSettings(epochs=4, lr=0.2)  # Steps so large that something is forgotten.
    (whole,) = feature_networks(context(tmp_path / "whole", depth=1), settings)
    assert int(whole.forgotten.sum()) > 0
    monkeypatch.setattr(kept, "KEPT_SECONDS", 0.0)
    cut, look, looks = context(tmp_path / "cut", depth=1), WatchedNetwork.look, []

    def dying(self, data):
        looks.append(1)
        if len(looks) == 3:
            raise Killed
        look(self, data)

    monkeypatch.setattr(WatchedNetwork, "look", dying)
    with pytest.raises(Killed):
        feature_networks(cut, settings)
    (found,) = feature_networks(cut, settings)
    assert len(looks) == 3 + 2
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in whole.state_dict().items())
    folder = feature_files(cut, settings)[1][0].parent
    assert {path.name for path in folder.iterdir()} == {"settings.json", "network_000.safetensors"}


def test_features_that_diverge_are_refused_by_the_setting(tmp_path):
    with pytest.raises(SettingError, match=r"evaluation\.features\.lr=1e\+30: training feature network 1/1 ended"):
        feature_networks(context(tmp_path, depth=1), FeatureSettings(epochs=1, lr=1e30))


# --- sets


def test_random_images_are_those_that_were_drawn_before_there_were_numbers_of_them(world):
    for number, images in enumerate(chosen_images(world, PROTOCOL, 2, "random")):
        drawn = world.data.class_batches(2, Streams(0).child("random").child("draw", number)("images"))
        assert torch.equal(world.data.train[images].images, drawn.images)


@pytest.mark.parametrize("kind", ALL)
def test_a_set_has_so_many_distinct_images_of_every_class_in_order(world, kind):
    sets = chosen_images(world, PROTOCOL, 2, kind)
    assert len(sets) == (3 if kind in ("kcenter", "kmeans") else 1)
    for images in sets:
        assert world.data.train.labels[images].tolist() == [label for label in range(10) for _ in range(2)]
        assert len(set(images.tolist())) == 20
    assert len({tuple(images.tolist()) for images in sets}) == len(sets)


def test_herding_chooses_by_class_in_the_features_of_each_network(world):
    two = replace(PROTOCOL, features=replace(FEATURES, networks=2))
    sets = chosen_images(world, two, 2, "herding")
    for images, watched in zip(sets, feature_networks(world, two.features), strict=True):
        members = world.data.class_members[3]
        own = members[herding(embed_real(watched.network, world.data.train.images[members]), 2)]
        assert images[6:8].tolist() == own.tolist()
    assert sets[0].tolist() == chosen_images(world, PROTOCOL, 2, "herding")[0].tolist() != sets[1].tolist()


def test_the_single_centre_of_k_means_is_one_set(world):
    sets = [chosen_images(world, PROTOCOL, 1, kind) for kind in ("kmeans", "herding")]
    assert torch.equal(*sets)
    assert len(sets[0]) == 1


def test_a_class_that_is_too_small_gives_some_again_where_that_is_asked_for(world):
    few = torch.cat([members[:3] for members in world.data.class_members])
    small = replace(world, data=replace(world.data, train=world.data.train[few], fill=True), data_key={"few": 3})
    for kind in ALL:
        for images in chosen_images(small, PROTOCOL, 5, kind):
            assert small.data.train.labels[images].bincount().tolist() == [5] * 10
            assert len(set(images.tolist())) == 30


def test_sets_are_chosen_once_for_all_protocols(world, monkeypatch):
    first = chosen_images(world, PROTOCOL, 2, "kcenter")
    monkeypatch.setattr(choosing, "_choose", refused_call)
    longer = replace(PROTOCOL, training=TrainingRecipe(epochs=7))
    assert torch.equal(chosen_images(world, longer, 2, "kcenter"), first)


def test_a_damaged_file_of_sets_is_refused_by_name(tmp_path):
    world = context(tmp_path, depth=1)
    path, made_by = choosing.sets_file(world, PROTOCOL, 2, "herding")
    tensor_files.write_tensors(path, {"images": torch.zeros(1, 7, dtype=torch.int64)}, {"made_by": made_by})
    with pytest.raises(SettingError, match=r"herding_.*\.safetensors: images of shape \[1, 7\]"):
        chosen_images(world, PROTOCOL, 2, "herding")


# --- accuracies


def test_a_measurement_that_is_stopped_goes_on_to_the_same_values(world, tmp_path, monkeypatch):
    whole, measure, measured = baselines(world, PROTOCOL, 2), of_baselines.accuracy_of_one, []
    assert list(whole) == ["herding", "kcenter", "forgetting", "kmeans"]
    assert all(len(values) == 3 for values in whole.values())
    cut = context(tmp_path, depth=1)

    def dying(*arguments):
        measured.append(1)
        if len(measured) == 5:
            raise Killed
        return measure(*arguments)

    monkeypatch.setattr(of_baselines, "accuracy_of_one", dying)
    with pytest.raises(Killed):
        baselines(cut, PROTOCOL, 2)
    assert baselines(cut, PROTOCOL, 2) == whole
    assert len(measured) == 12 + 1
    monkeypatch.setattr(of_baselines, "accuracy_of_one", refused_call)
    assert baselines(cut, PROTOCOL, 2) == whole
    assert not list(tmp_path.rglob("*unfinished*"))


def test_where_nothing_may_be_written_what_was_measured_before_is_read(world, monkeypatch):
    before, chosen = baselines(world, PROTOCOL, 2), chosen_images(world, PROTOCOL, 2, "kcenter")

    def read_only(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(locks.FileLock, "acquire", read_only)
    assert baselines(world, PROTOCOL, 2) == before
    assert torch.equal(chosen_images(world, PROTOCOL, 2, "kcenter"), chosen)
    with pytest.raises(OSError, match="Read-only"):
        baselines(world, PROTOCOL, 3)


@pytest.mark.parametrize("training", [SHORT, TrainingRecipe(epochs=1, loss="kl", temperature=2.0, hard_share=0.5)])
def test_each_network_is_trained_on_the_images_of_its_set_which_have_hard_labels(
    world, tmp_path, monkeypatch, training
):
    trained = []
    monkeypatch.setattr(of_baselines, "accuracy_of_one", lambda how, *_: trained.append(how.stages) or 50.0)
    features = replace(FEATURES, networks=2)
    two = replace(PROTOCOL, features=features, baselines=("herding",), training=training)
    baselines(replace(world, buffers=tmp_path), two, 1)
    sets = chosen_images(replace(world, buffers=tmp_path), two, 1, "herding")
    for repeat, ((images, recipe),) in enumerate(trained):
        assert torch.equal(images.images, world.data.train[sets[repeat % 2]].images)
        assert recipe == SHORT


# --- records


def test_the_command_records_which_images_were_chosen(tmp_path):
    words = [*TINY, *TINY_METHOD["dm"], "ipc=1", "evaluation.features.epochs=1"]
    kinds = "evaluation.baselines=[random,herding,kcenter,forgetting,kmeans]"
    code, out, err = script("baselines", *words, kinds, cwd=tmp_path)
    assert code == 0, err
    records = {}
    for path in (tmp_path / "results" / "digits" / "baselines").glob("*.baseline.json"):
        record = json.loads(path.read_text())
        records[record["baseline"]] = record
    assert set(records) == {"random", *ALL}
    for kind, record in records.items():
        assert record["sets"] == len(record["images"]) == (2 if kind in ("random", "kcenter") else 1)
        assert all(len(set(images.split())) == 10 for images in record["images"])
        assert ("evaluation.features.epochs" in record["differs_from_recipe"]) is (kind != "random")
    assert "digits, 1 images per class by herding (1 set), as dm evaluates: " in out
    code, _, err = script("distill", *words, "evaluation.baselines=[kcenter,random]", cwd=tmp_path)
    assert code == 0, err
    (result,) = (tmp_path / "results").rglob("result.json")
    found = json.loads(result.read_text())["baselines"]
    assert found == {kind: records[kind]["accuracies"] for kind in found}
    assert {"random", "kcenter"} <= set(found)


def test_a_finished_run_is_given_them_and_those_of_other_features_go(tmp_path):
    folder = run_here(tmp_path / "results", "dm", "evaluation.baselines=[random]")
    first = json.loads((folder / "result.json").read_text())
    assert "features" not in first["settings"]["evaluation"]
    again(tmp_path / "results", "evaluation.baselines=[herding,forgetting]", "evaluation.features.epochs=1")
    found = json.loads((folder / "result.json").read_text())
    assert list(found["settings"]["evaluation"]["baselines"]) == ["random", "herding", "forgetting"]
    assert found["settings"]["evaluation"]["features"]["epochs"] == 1
    again(tmp_path / "results", "evaluation.baselines=[herding]", "evaluation.features.epochs=2")
    other = json.loads((folder / "result.json").read_text())
    assert set(other["baselines"]) == {"random", "herding"}
    assert other["baselines"]["random"] == first["baselines"]["random"]
    assert other["settings"]["evaluation"]["baselines"] == ["random", "herding"]
    assert other["settings"]["evaluation"]["features"]["epochs"] == 2
