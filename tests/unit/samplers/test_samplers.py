"""DREAM chooses the images that k-means would, when it should, and refuses what it cannot choose."""

import pytest
import torch
from omegaconf import OmegaConf

from cmidd import load_synthetic
from cmidd.cli.compose import CONFIGS, compose
from cmidd.compute.kmeans import nearest_to_centres
from cmidd.core.context import Context
from cmidd.data.load import load_dataset
from cmidd.methods.idc import IDC
from cmidd.networks import build_network
from cmidd.samplers.dream import DREAM, representatives
from cmidd.samplers.first import First
from cmidd.samplers.random import RandomSampler
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.pretended import pretended_device
from tests.support.runs import run_here, run_until


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits")


@pytest.fixture
def context(data, tmp_path):
    synthetic = SyntheticSet.from_real(data, 1, Streams(0)("init"))
    return Context(
        data, synthetic, Streams(0), tmp_path, {"name": "convnet", "width": 4, "depth": 2}, {}, RandomSampler(data)
    )


def network_for(data, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return build_network("convnet", data.image_shape, 10, generator, width=4, depth=2)


def test_with_as_many_clusters_as_images_each_image_is_chosen_once(data):
    points = data.train.images[data.class_members[3]].flatten(1)
    chosen = nearest_to_centres(points, len(points), torch.Generator().manual_seed(0), 20)
    assert sorted(chosen.tolist()) == list(range(len(points)))


def test_the_chosen_images_are_the_nearest_to_the_centres_of_plain_k_means():
    generator = torch.Generator().manual_seed(0)
    blobs = 10 * torch.randn(4, 1, 3, generator=generator) + torch.randn(4, 25, 3, generator=generator)
    points = blobs.flatten(0, 1)
    chosen = nearest_to_centres(points, 7, torch.Generator().manual_seed(1), 20)
    centres = points[torch.randperm(100, generator=torch.Generator().manual_seed(1))[:7]]
    for _ in range(20):
        nearest = [int((centres - point).norm(dim=1).argmin()) for point in points]
        groups = [[p for p, own in zip(points, nearest, strict=True) if own == k] for k in range(7)]
        centres = torch.stack([torch.stack(group).mean(0) if group else centres[k] for k, group in enumerate(groups)])
    plain = [int((points - centre).norm(dim=1).argmin()) for centre in centres]
    assert len(set(chosen.tolist())) == 7
    assert chosen.tolist() == plain


def test_k_means_ends_after_its_rounds_or_where_no_image_changes_its_cluster():
    points = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))

    def chosen(rounds):
        return nearest_to_centres(points, 40, torch.Generator().manual_seed(0), rounds).tolist()

    assert chosen(1) != chosen(20)
    assert chosen(20) != chosen(100)
    assert chosen(100) == chosen(1000)


def test_dream_clusters_for_as_many_rounds_as_the_library_of_the_source(data):
    assert compose(["method=dm", "sampler=dream"]).sampler == {"name": "dream", "interval": 10, "rounds": 100}


def test_dream_trains_idcs_networks_on_its_own_batches_in_half_the_steps(context):
    net_steps = []
    for sampler in ("random", "dream"):
        arguments = compose(["method=idc", "dataset=cifar10", f"sampler={sampler}"]).arguments
        net_steps.append(IDC(context, **{**arguments, "net_images": 1280}).net_steps)
    assert net_steps == [20, 10]
    for path in (CONFIGS / "recipe" / "sampler").glob("dream_idc_*.yaml"):
        if path.stem not in ("dream_idc_digits", "dream_idc_tiny_imagenet"):
            assert OmegaConf.load(path) == {"method": {"batch_real": 128, "net": {"batch": 128}}}


def test_every_class_gives_its_own_images_and_a_small_class_all_of_them(data):
    chosen = representatives(data, 12, network_for(data), torch.Generator().manual_seed(0), 20)
    assert [set(data.train.labels[own].tolist()) for own in chosen] == [{label} for label in range(10)]
    assert all(len(set(own.tolist())) == 12 for own in chosen)
    everything = representatives(data, 1000, network_for(data), torch.Generator().manual_seed(0), 20)
    assert sorted(torch.cat(everything).tolist()) == list(range(len(data.train)))


def test_images_are_chosen_anew_after_the_interval_and_not_before(data):
    sampler, streams = DREAM(data, interval=3), Streams(0)
    batches = [sampler.batch(5, network_for(data, step), streams, (0, step)).images for step in range(4)]
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], batches[3])


def test_a_set_starts_from_distinct_representatives_for_every_tile(data):
    drawn = DREAM(data, interval=1).first(3, 4, Streams(0)("init"), lambda _: network_for(data))
    together = torch.cat([batch.images.flatten(1) for batch in drawn])
    assert together.unique(dim=0).shape[0] == 10 * 3 * 4
    with pytest.raises(SettingError, match="sampler=dream: starts from 200 images of every class, digits has"):
        DREAM(data, interval=1).first(50, 4, Streams(0)("init"), lambda _: network_for(data))


@pytest.mark.parametrize("method", ["dm", "idc", "idm"])
def test_a_resumed_run_matches_the_images_chosen_before_it_died(tmp_path, method):
    words = ["sampler=dream", "sampler.interval=3", "checkpoint_seconds=0"]
    whole = run_here(tmp_path / "whole", method, *words)
    run_until(2, "checkpoint.safetensors", tmp_path / "results", method, *words)
    resumed = run_here(tmp_path / "results", method, *words)
    images = [load_synthetic(folder / "synthetic.safetensors").images for folder in (whole, resumed)]
    assert torch.equal(*images)
    plain = run_here(tmp_path / "plain", method)
    assert not torch.equal(images[0], load_synthetic(plain / "synthetic.safetensors").images)


def first_of(settings, data):
    tiles = settings.formation.tiles
    return RandomSampler(data).first(settings.ipc, tiles, Streams(0)("init"), network_for, settings.distinct)


def test_nothing_is_remembered_before_the_first_choice(data):
    sampler = DREAM(data, interval=3)
    assert sampler.state() == {}
    sampler.load_state({"chosen": torch.arange(4)})
    assert torch.equal(sampler.state()["chosen"], torch.arange(4))


def test_idc_starts_from_images_of_which_none_is_in_two_tiles_and_idm_as_chance_has_it(data):
    for method, most in (("idc", 1), ("idm", 2)):
        settings = compose([f"method={method}", "method.formation.factor=2", "ipc=20"])
        tiles = torch.cat([batch.images.flatten(1) for batch in first_of(settings, data)])
        assert (int(tiles.unique(dim=0, return_counts=True)[1].max()) > 1) == (most > 1)


def test_distinct_images_are_those_of_chance_until_one_comes_again_and_small_classes_go_round(data):
    drawn = data.distinct_class_batches(1, 3, Streams(0)("init"))
    generator = Streams(0)("init")
    for batch in drawn:
        assert torch.equal(batch.images, data.class_batches(1, generator).images)
    smallest = min(len(members) for members in data.class_members)
    everything = torch.cat([b.images.flatten(1) for b in data.distinct_class_batches(smallest, 2, Streams(0)("init"))])
    assert int(everything.unique(dim=0, return_counts=True)[1].max()) == 2


def test_a_start_that_chance_never_repeats_is_no_other_run(data):
    assert "distinct" not in compose(["method=idc"]).identity["method"]  # digits: one tile
    assert compose(["method=idc", "dataset=cifar10"]).identity["method"]["distinct"] is True
    assert "distinct" not in compose(["method=idc", "dataset=cifar10", "method.init=noise"]).identity["method"]


@pytest.mark.parametrize("fill", ["none", "repeat"])
def test_the_first_images_of_a_class_come_again_where_it_ends(fill):
    data, size = load_dataset("digits", fill=fill), 60
    sampler = First(data)
    batches = sampler.first(size, 4, Streams(0)("init"), lambda _: network_for(data), distinct=True)
    assert [len(batch) for batch in batches] == [10 * size] * 4
    members = data.class_members[0]
    wanted = data.train.images[torch.cat([members, members])[: 4 * size]]
    assert torch.equal(torch.cat([batch.images[:size] for batch in batches]), wanted)
    assert sampler.batch(size, None, Streams(0), ()).labels is batches[0].labels


def test_a_method_without_real_batches_is_refused():
    with pytest.raises(SettingError, match="sampler=dream: needs batches of real images, and method=mtt has none"):
        compose(["method=mtt", "sampler=dream"])


def test_a_gpu_chooses_the_images_that_a_cpu_does(data):
    """The classes' indices are on the CPU, their embeddings are not."""
    network = network_for(data)
    chosen = [own.tolist() for own in representatives(data, 3, network, torch.Generator().manual_seed(0), 20)]
    with pretended_device("cuda"):
        on_gpu = DREAM(load_dataset("digits", device=torch.device("cuda")), interval=1)
        batch = on_gpu.batch(3, network.to("cuda"), Streams(0), (0,))
        assert batch.images.is_cuda
        found = representatives(on_gpu.data, 3, network, torch.Generator().manual_seed(0), 20)
        assert [own.tolist() for own in found] == chosen
