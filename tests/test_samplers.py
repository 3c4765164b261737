"""DREAM chooses the images that k-means would, when it should, and refuses what it cannot choose."""

import pytest
import torch

from cmidd import load_synthetic
from cmidd.cli import compose
from cmidd.data import load_dataset
from cmidd.errors import SettingError
from cmidd.networks import build_network
from cmidd.samplers.dream import DREAM, nearest_to_centres, representatives
from cmidd.streams import Streams
from tests.runs import run_here, run_until


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits")


def network_for(data, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return build_network("convnet", data.image_shape, 10, generator, width=4, depth=2)


def test_with_as_many_clusters_as_images_each_image_is_chosen_once(data):
    points = data.train.images[data.class_members[3]].flatten(1)
    chosen = nearest_to_centres(points, len(points), torch.Generator().manual_seed(0))
    assert sorted(chosen.tolist()) == list(range(len(points)))


def test_the_chosen_images_are_the_nearest_to_the_centres_of_plain_k_means():
    generator = torch.Generator().manual_seed(0)
    blobs = 10 * torch.randn(4, 1, 3, generator=generator) + torch.randn(4, 25, 3, generator=generator)
    points = blobs.flatten(0, 1)
    chosen = nearest_to_centres(points, 7, torch.Generator().manual_seed(1))
    centres = points[torch.randperm(100, generator=torch.Generator().manual_seed(1))[:7]]
    for _ in range(20):
        nearest = [int((centres - point).norm(dim=1).argmin()) for point in points]
        groups = [[p for p, own in zip(points, nearest, strict=True) if own == k] for k in range(7)]
        centres = torch.stack([torch.stack(group).mean(0) if group else centres[k] for k, group in enumerate(groups)])
    plain = [int((points - centre).norm(dim=1).argmin()) for centre in centres]
    assert len(set(chosen.tolist())) == 7
    assert chosen.tolist() == plain


def test_every_class_gives_its_own_images_and_a_small_class_all_of_them(data):
    chosen = representatives(data, 12, network_for(data), torch.Generator().manual_seed(0))
    assert [set(data.train.labels[own].tolist()) for own in chosen] == [{label} for label in range(10)]
    assert all(len(set(own.tolist())) == 12 for own in chosen)
    everything = representatives(data, 1000, network_for(data), torch.Generator().manual_seed(0))
    assert sorted(torch.cat(everything).tolist()) == list(range(len(data.train)))


def test_images_are_chosen_anew_after_the_interval_and_not_before(data):
    sampler, streams = DREAM(interval=3), Streams(0)
    batches = [sampler.batch(data, 5, network_for(data, step), streams, (0, step)).images for step in range(4)]
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(batches[0], batches[2])
    assert not torch.equal(batches[0], batches[3])


def test_a_set_starts_from_distinct_representatives_for_every_tile(data):
    drawn = DREAM(interval=1).first(data, 3, 4, Streams(0)("init"), lambda _: network_for(data))
    together = torch.cat([batch.images.flatten(1) for batch in drawn])
    assert together.unique(dim=0).shape[0] == 10 * 3 * 4
    with pytest.raises(SettingError, match="sampler=dream: starts from 200 images of every class, digits has"):
        DREAM(interval=1).first(data, 50, 4, Streams(0)("init"), lambda _: network_for(data))


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


def test_nothing_is_remembered_before_the_first_choice():
    sampler = DREAM(interval=3)
    assert sampler.state() == {}
    sampler.load_state({"chosen": torch.arange(4)})
    assert torch.equal(sampler.state()["chosen"], torch.arange(4))


def test_a_method_without_real_batches_is_refused():
    with pytest.raises(SettingError, match="sampler=dream: needs batches of real images, and method=mtt has none"):
        compose(["method=mtt", "sampler=dream"])
