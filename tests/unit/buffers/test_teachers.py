"""Teachers: a pool for every training recipe, those of others from files, what they see, what a record says of them."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parameters_to_vector

from cmidd import load_synthetic
from cmidd.analysis.results import Result
from cmidd.analysis.verify import rebuild
from cmidd.buffers.experts import ExpertRecipe, Experts, ExpertSettings
from cmidd.buffers.teacher_files import find
from cmidd.cli.compose import compose
from cmidd.core.match import Match
from cmidd.data.preprocessing import ZCA
from cmidd.data.split import Split
from cmidd.methods import METHODS
from cmidd.networks import build_network
from cmidd.regularizers.cmi import conditional_mutual_information
from cmidd.runs.build import make_context, make_regularizers, make_teachers
from cmidd.runs.record import read_record
from cmidd.utils import files, locks, tensor_files
from tests.support.refusals import bytes_of, edited, refused, script, without
from tests.support.runs import TINY, TINY_METHOD, run_here

QUICK = ["evaluation.repeats=1", "evaluation.training.epochs=1", "ipc=2"]
CMI = [*QUICK, "cmi.lambda=0.1"]


def images_of(folder):
    return load_synthetic(folder / "synthetic.safetensors").images


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with CMI and a pool of two, and the folder of the pool."""
    folder = tmp_path_factory.mktemp("trained") / "results"
    run = run_here(folder, "dm", *CMI, "cmi.pool=2")
    (pool,) = (folder.parent / "buffers" / "teachers").iterdir()
    return run, pool


# --- a pool for every recipe


def test_iid_has_teachers_of_its_own_and_cmi_keeps_its_pool(tmp_path, trained):
    run = run_here(tmp_path / "results", "dm", *CMI, "regularizer=iid")
    pools = {
        path.name: json.loads((path / "settings.json").read_text()) for path in tmp_path.glob("buffers/teachers/*")
    }
    decays = {name: pool["training"]["weight_decay"] for name, pool in pools.items()}
    assert sorted(decays.values()) == [5e-4, 1e-3]
    assert decays[trained[1].name] == 1e-3
    recorded = {pool["weight_decay"]: pool for pool in read_record(run / "result.json").teachers}
    assert set(recorded) == {5e-4, 1e-3}
    assert all(len(pool["accuracies"]) == pool["count"] == 1 for pool in recorded.values())


def test_teachers_made_ahead_say_for_which_methods_they_are_where_none_is_given(tmp_path):
    words = ["dataset=cifar10", f"data.root={tmp_path}", "data.download=false", "cmi.teacher=mlp"]
    _, out, _ = script("teachers", *words, cwd=tmp_path)  # Before it looks for the data, which are not there.
    seen = "those for dc, dm, dsa, idc, idm, ncfm see other data (dataset.zca=false) and are others"
    assert f"these are teachers for method=mtt; {seen}: give method=<name>" in out
    _, out, _ = script("teachers", *words, "method=dm", cwd=tmp_path)
    assert "these are teachers" not in out


def test_a_run_with_iid_from_before_goes_on_with_the_teachers_of_then_only(tmp_path):
    words = [*QUICK, "regularizer=iid"]
    then = "iid.teacher_weight_decay=0.001"
    run = run_here(tmp_path / "results", "dm", *words, then)
    identity = files.read_json(run / "settings.json")
    assert "teacher_weight_decay" not in identity["regularizers"]["iid"]  # as it was written before
    refused("run", "IID from before", lambda: run_here(tmp_path / "results", "dm", *words), "iid." + then[4:])
    before = bytes_of(run)
    assert run_here(tmp_path / "results", "dm", *words, then) == run
    assert bytes_of(run) == before


# --- what teachers see


def test_the_identity_names_what_teachers_see_only_where_that_is_new():
    def cmi(*words):
        return compose(["ipc=2", *words]).identity["cmi"]

    assert cmi("method=idc", "cmi.lambda=1")["input"] == "pixels"
    assert cmi("method=idc", "cmi.measure=true")["input"] == "pixels"
    assert cmi("method=dm", "cmi.lambda=1", "cmi.input=pixels")["input"] == "pixels"
    assert "input" not in cmi("method=dm", "cmi.lambda=1")
    assert {name for name, method in METHODS.items() if method.teacher_input != "preprocessed"} == {"idc"}
    assert "input" not in cmi("method=idc")
    assert "input" not in cmi("method=idc", "cmi.lambda=1", "cmi.input=preprocessed")


def test_a_run_of_idc_with_cmi_from_before_goes_on_as_it_was_only(tmp_path):
    run = run_here(tmp_path / "results", "idc", *CMI, "cmi.input=preprocessed")
    message = refused("run", "IDC from before", lambda: run_here(tmp_path / "results", "idc", *CMI), "cmi.input=pixels")
    assert "cmi.input=preprocessed" in message
    assert run_here(tmp_path / "results", "idc", *CMI, "cmi.input=preprocessed") == run
    other = run_here(tmp_path / "other", "idc", *CMI)
    assert not torch.equal(images_of(run), images_of(other))


@pytest.mark.parametrize(("zca", "centroids"), [("false", "real"), ("true", "synthetic")])
def test_the_teachers_of_idc_see_pixels_and_those_of_dm_what_networks_see(tmp_path, zca, centroids):
    words = [*TINY, f"buffers_root={tmp_path}", f"dataset.zca={zca}", f"cmi.centroids={centroids}"]
    for method in ("idc", "dm"):
        settings = compose([*words, *TINY_METHOD[method], *CMI])
        context = make_context(settings, torch.device("cpu"))
        data, teachers = context.data, make_teachers(settings, context)
        seen = data.preprocessing.inverse if method == "idc" else lambda images: images
        assert isinstance(data.preprocessing, ZCA) == (zca == "true")
        ((_, term),) = make_regularizers(settings, context, teachers)
        teacher = teachers().networks[0]
        batch = data.class_batches(3, torch.Generator().manual_seed(0))
        log_q = None
        if centroids == "real":
            p = teacher.embed(seen(data.train.images)).softmax(1)
            log_q = torch.stack([p[data.train.labels == label].mean(0).log() for label in range(10)])
        expected = conditional_mutual_information(teacher.embed(seen(batch.images)), batch.labels, log_q)
        found = term(Match(torch.zeros(()), batch.images, batch.labels), torch.Generator())
        torch.testing.assert_close(found, expected)


# --- from files


def test_a_run_with_the_pool_as_files_gives_the_bits_of_the_run_with_the_pool(tmp_path, trained):
    run, pool = trained
    again = run_here(tmp_path / "results", "dm", *CMI, f"cmi.teachers={pool}", "cmi.pool=null")
    assert torch.equal(images_of(again), images_of(run))
    ours, theirs = (read_record(each / "result.json").teachers[0] for each in (again, run))
    assert ours["accuracies"] == theirs["accuracies"]
    assert ours["count"] == 2
    record = read_record(again / "result.json")
    settings = record.settings
    assert settings["cmi"]["pool"] == 2
    assert str(pool) not in json.dumps(settings)
    rebuilt = rebuild(Result(again / "result.json", record))
    assert files.as_json(rebuilt.identity) == settings
    one = run_here(tmp_path / "one", "dm", *CMI, f"cmi.teachers={pool}", "cmi.pool=1")
    assert read_record(one / "result.json").settings["cmi"]["teachers"] != settings["cmi"]["teachers"]


def test_a_pool_that_saw_other_data_is_used_and_said_so(tmp_path, trained, caplog):
    _, pool = trained
    words = [*CMI, f"cmi.teachers={pool}", "cmi.pool=1", "method.iterations=1"]
    run_here(tmp_path / "results", "dm", *words)
    run_here(tmp_path / "filled", "dm", *words, "dataset.fill=repeat")
    assert "trained on data" not in caplog.text
    run_here(tmp_path / "whitened", "dm", *words, "dataset.zca=true")
    assert (
        "teacher_000.safetensors was trained on data of zca=false (here true); it is used all the same" in caplog.text
    )


def test_a_pool_from_before_serves_though_nothing_tells_its_accuracy(tmp_path, trained):
    run, pool = trained
    shutil.copytree(pool, tmp_path / "buffers" / "teachers" / pool.name)
    for path in (tmp_path / "buffers" / "teachers" / pool.name).glob("*.safetensors"):
        edited(without("accuracy"))(path)
    again = run_here(tmp_path / "results", "dm", *CMI, "cmi.pool=2")
    assert torch.equal(images_of(again), images_of(run))
    assert read_record(again / "result.json").teachers[0]["accuracies"] == []


def test_the_same_files_elsewhere_go_on_and_others_in_the_same_place_are_refused(tmp_path, trained):
    def start():
        return run_here(tmp_path / "results", "dm", *CMI, f"cmi.teachers={place}")

    place, other = tmp_path / "teachers", tmp_path / "moved"
    place.mkdir()
    state = tensor_files.read_tensors(trained[1] / "teacher_000.safetensors")[0]
    save_file(state, place / "one.safetensors")
    run = start()
    place.rename(other)
    place = other
    torch.save(state, other / "one.pt")
    (other / "one.safetensors").unlink()
    before = bytes_of(run)
    assert start() == run
    assert bytes_of(run) == before
    torch.save({name: tensor + 0.1 for name, tensor in state.items()}, other / "one.pt")
    refused("run", "other teachers", start, "cmi.teachers")


class PublishedBlock(nn.Module):
    """Named and ordered as in the published pre-training (CMIDD/pretrain)."""

    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.GroupNorm(channels, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.GroupNorm(channels, channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or before != channels:
            convolution = nn.Conv2d(before, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.GroupNorm(channels, channels))

    def forward(self, x):
        out = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (out + self.shortcut(x)).relu()


class Published(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.GroupNorm(64, 64)
        before = 64
        for number, channels in enumerate((64, 128, 256, 512), 1):
            blocks = [PublishedBlock(before, channels, 1 if number == 1 else 2), PublishedBlock(channels, channels, 1)]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            before = channels
        self.classifier = nn.Linear(512, num_classes)

    def forward(self, x):
        out = self.bn1(self.conv1(x)).relu()
        for number in range(1, 5):
            out = getattr(self, f"layer{number}")(out)
        return self.classifier(nn.functional.avg_pool2d(out, 4).flatten(1))


@pytest.fixture(scope="module")
def world():
    """Three classes of images like CIFAR's, for what is only checked."""
    settings = compose([*TINY, *TINY_METHOD["dm"], "ipc=1"])
    context = make_context(settings, torch.device("cpu"))
    data = context.data
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(3).repeat(2))
    return replace(context, data=replace(data, train=split, test=split, classes=("a", "b", "c")))


def pool_of(world, tmp_path, place, teacher, **changes):
    read = compose([f"cmi.teachers={place}", f"cmi.teacher={teacher}"])
    return make_teachers(read, replace(world, buffers=tmp_path / "buffers"))(**changes)


def test_what_the_published_pre_training_saves_is_our_resnet18(tmp_path, world):
    published = Published(3).eval()
    for prefix in ("", "module."):  # of DataParallel, on two GPUs
        state = {prefix + name: tensor for name, tensor in published.state_dict().items()}
        torch.save(state, tmp_path / "buffer0.pth")
        (teacher,) = pool_of(world, tmp_path, tmp_path / "buffer0.pth", "resnet18").networks
        images = world.data.test.images
        torch.testing.assert_close(teacher(images), published(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_a_classifier_of_torchvision_teaches_in_what_comes_before_its_last_layer(tmp_path, world, name):
    import torchvision

    model = torchvision.models.get_model(name, weights=None, num_classes=3).eval()
    torch.save(model.state_dict(), tmp_path / "one.pt")
    pool = pool_of(world, tmp_path, tmp_path, f"torchvision/{name}")
    images = world.data.test.images
    (teacher,) = pool.networks
    torch.testing.assert_close(teacher(images), model(images))
    assert teacher.embed(images).shape == (6, teacher.classifier.in_features)
    labels = world.data.test.labels
    correct = (model(images).argmax(1) == labels).double().mean()
    assert pool.about["accuracies"] == pytest.approx([100 * float(correct)])


def test_an_accuracy_that_was_measured_is_read_where_nothing_may_be_written(tmp_path, world, monkeypatch):
    model = build_network("mlp", (3, 32, 32), 3, torch.Generator().manual_seed(0))
    torch.save(model.state_dict(), tmp_path / "one.pt")
    before = pool_of(world, tmp_path, tmp_path, "mlp").about
    monkeypatch.setattr(locks.FileLock, "acquire", lambda *_, **__: pytest.fail("took a lock"))
    assert pool_of(world, tmp_path, tmp_path, "mlp").about == before


def test_a_pool_is_in_the_order_of_its_numbers(tmp_path, world):
    state = build_network("mlp", (3, 32, 32), 3, torch.Generator().manual_seed(0)).state_dict()
    for number in (10, 9, 2):
        torch.save({**state, "classifier.bias": torch.full((3,), float(number))}, tmp_path / f"buffer{number}.pth")
    pool = pool_of(world, tmp_path, tmp_path, "mlp", weight_decay=5e-4)  # Files are for everybody.
    assert [float(network.classifier.bias[0]) for network in pool.networks] == [2, 9, 10]


def test_a_convnet_of_idc_or_ncfm_has_its_convolutions_first(tmp_path, world):
    network = world.new_network(torch.Generator().manual_seed(0), "convnet").eval()
    named = list(network.state_dict().items())  # Of each block weight and bias of the convolution, then of the norm.
    blocks = [named[start : start + 4] for start in range(0, len(named) - 2, 4)]
    theirs = {
        f"layers.{kind}.{number}.{what}": block[place][1]
        for kind, first in (("conv", 0), ("norm", 2))
        for number, block in enumerate(blocks)
        for place, what in ((first, "weight"), (first + 1, "bias"))
    }
    torch.save({**theirs, **dict(named[-2:])}, tmp_path / "premodel0_trained.pth.tar")
    (teacher,) = pool_of(world, tmp_path, tmp_path / "premodel0_trained.pth.tar", "convnet").networks
    images = world.data.test.images
    torch.testing.assert_close(teacher(images), network(images))


def test_an_expert_is_a_teacher_by_its_last_row(tmp_path, world):
    world = replace(world, buffers=tmp_path)
    experts = Experts(world, ExpertSettings(2, ExpertRecipe(epochs=2, momentum=0.0, weight_decay=0.0)))
    (folder,) = (world.buffers / "experts").iterdir()
    pool = pool_of(world, tmp_path, folder, "convnet")
    assert pool.about["count"] == 2
    for number, teacher in enumerate(pool.networks):
        assert torch.equal(parameters_to_vector(teacher.parameters()), experts.last(number))
    for name, text in (("mlp", "holds a convnet, not cmi.teacher=mlp"), ("convnet", "is an expert with")):
        tensors, about = tensor_files.read_tensors(experts.paths[0])
        shorter = {"trajectory": tensors["trajectory"][:, 1:].contiguous()}
        tensor_files.write_tensors(tmp_path / "shorter.safetensors", shorter, about)
        refused(
            "teachers", name, lambda name=name: pool_of(world, tmp_path, tmp_path / "shorter.safetensors", name), text
        )


UNFIT = {
    "other classes": ({"classifier.weight": torch.zeros(4, 128)}, (), "classifier.weight"),
    "a missing name": ({}, ("classifier.bias",), "lacks classifier.bias"),
    "another name": ({"extra": torch.zeros(3)}, (), "also holds extra"),
    "not a number": ({"classifier.bias": torch.full((10,), torch.nan)}, (), "not finite"),
    "no tensor": ({"classifier.bias": 3}, (), "no state dict"),
}


@pytest.mark.parametrize("flaw", UNFIT)
def test_files_that_do_not_fit_are_refused_before_a_folder_is_made(tmp_path, flaw):
    changes, missing, text = UNFIT[flaw]
    state = build_network("mlp", (1, 8, 8), 10, torch.Generator().manual_seed(0)).state_dict()
    state = {name: value for name, value in {**state, **changes}.items() if name not in missing}
    torch.save(state, tmp_path / "one.pt")
    words = [*CMI, f"cmi.teachers={tmp_path}", "cmi.teacher=mlp"]
    refused("teachers", flaw, lambda: run_here(tmp_path / "results", "dm", *words), tmp_path / "one.pt", text)
    assert not list(tmp_path.rglob("settings.json"))


def test_what_is_no_file_of_teachers_is_refused_with_the_way_out(tmp_path, trained):
    (tmp_path / "empty").mkdir()
    for name in ("damaged.pt", "damaged.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x02}q\x00.")
    torch.save(nn.Linear(2, 2), tmp_path / "whole.pt")  # a module, not its state dict: unpickling it would run code
    for name in ("empty", "damaged.pt", "damaged.safetensors", "whole.pt"):
        refused("teachers", name, lambda name=name: find(f"{tmp_path}/{name}", None), name)
    wrong = [
        (["cmi.teachers=nowhere"], "cmi.teachers=nowhere"),
        ([f"cmi.teachers={trained[1]}", "cmi.pool=3"], "choose at most 2"),
        (["cmi.teachers=5", "cmi.pool=3"], "cmi.teachers=5"),
        (["cmi.teacher=torchvision/resnet18"], "cmi.teachers=<folder or file>"),
        (["cmi.content=1"], "cmi.content"),
        (["cmi.input=raw"], "cmi.input=raw"),
    ]
    for words, name in wrong:
        refused("teachers", words, lambda words=words: compose(["cmi.lambda=1", *words]), name)
    fitting = [
        ([f"cmi.teachers={trained[1]}", "cmi.teacher=mlp"], "holds a convnet"),
        ([f"cmi.teachers={trained[1]}", "cmi.teacher=torchvision/nosuch"], "torchvision/nosuch"),
        ([f"cmi.teachers={trained[1]}", "cmi.teacher=torchvision/resnet18"], "1x8x8"),
    ]
    for words, name in fitting:
        refused("teachers", words, lambda words=words: run_here(tmp_path / "results", "dm", *CMI, *words), name)


def test_all_files_are_used_unless_a_pool_is_given_and_twenty_are_trained(trained):
    cifar10 = ["method=dm", "dataset=cifar10"]
    for words, count in (([*cifar10, "cmi=recipe"], 20), ([*cifar10, "cmi=paper"], 200)):
        assert compose(words).cmi.pool == count
        assert compose([*words, f"cmi.teachers={trained[1]}"]).cmi.pool == 2


def test_who_trains_as_cmi_does_shares_its_pool(tmp_path):
    settings = compose([*TINY, *TINY_METHOD["dm"], f"buffers_root={tmp_path}"])
    pools = make_teachers(settings, make_context(settings, torch.device("cpu")))
    assert pools() is pools(weight_decay=1e-3)
    assert pools() is not pools(weight_decay=5e-4)
    assert [pool["weight_decay"] for pool in pools.about] == [1e-3, 5e-4]
