"""Images held as uint8 are, whenever they are taken, the float32 images that the whole data set would be as floats."""

import hashlib

import pytest
import torch

from cmidd.compute.embeddings import embed_real
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.training import accuracy, train
from cmidd.data.dataset import Dataset
from cmidd.data.held import Held, held, unit
from cmidd.data.load import _normalize, load_dataset
from cmidd.data.preprocessing import ZCA, Normalize
from cmidd.data.split import Split
from cmidd.evaluation.train_on_set import digest
from cmidd.networks import build_network
from cmidd.runs.run_folder import _as_seen
from cmidd.utils.random_streams import Streams

NORMALIZE = Normalize(torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2023, 0.1994, 0.2010]))


@pytest.fixture(scope="module")
def pair():
    """The same images held, and as the floats that the plain formula gives."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (700, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(700) % 5
    mean, std = NORMALIZE.mean[:, None, None], NORMALIZE.std[:, None, None]
    floats = (pixels.float() / 255 - mean) / std
    return held(Split(pixels, labels), NORMALIZE, "cpu"), Split(floats, labels)


def same(ours, theirs):
    return torch.equal(ours.images, theirs.images) and torch.equal(ours.labels, theirs.labels)


def test_every_pixel_value_is_the_float_it_would_be():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16).expand(2, 3, 16, 16).contiguous()
    mean, std = NORMALIZE.mean[:, None, None], NORMALIZE.std[:, None, None]
    ours = held(Split(pixels, torch.zeros(2)), NORMALIZE, "cpu")
    assert torch.equal(ours.images, (pixels.float() / 255 - mean) / std)
    assert ours.images.dtype == torch.float32


def test_what_is_taken_is_a_part_of_the_whole_bit_for_bit(pair):
    ours, floats = pair
    order = torch.randperm(700, generator=torch.Generator().manual_seed(1))
    for taken in (order[:1], order[:13], order[:256], order, slice(5, 9), slice(256), order % 7 == 0):
        assert same(ours[taken], floats[taken])
        assert same(ours.subset(taken), floats[taken])
        assert type(ours.subset(taken)) is Held
    for size in (1, 33, 700, 1000):
        for mine, theirs in zip(ours.parts(size), floats.parts(size), strict=True):
            assert same(mine, theirs)
    assert same(ours, floats)


def test_shape_device_and_length_are_known_without_making_the_images(pair, monkeypatch):
    ours, floats = pair
    monkeypatch.setattr(Held, "_input", None)
    assert (len(ours), ours.shape, ours.device) == (len(floats), floats.shape, floats.device)
    assert repr(ours) == "Split(700 images 3x8x8, float32 held as uint8, 5 classes)"
    data = Dataset("x", ours, ours, tuple("abcde"), NORMALIZE)
    assert (data.image_shape, data.device, len(data.class_members)) == ((3, 8, 8), torch.device("cpu"), 5)
    assert "3x8x8" in repr(data)


def test_held_images_are_a_quarter_of_the_bytes():
    data = load_dataset("digits")
    assert type(data.train) is type(data.test) is Held
    assert data.train.pixels.nbytes * 4 == data.train.images.nbytes


def test_batches_are_those_of_floats(pair):
    datasets = [Dataset("x", split, split, tuple("abcde"), NORMALIZE) for split in pair]
    streams = Streams(0)
    for draw in (
        lambda data: data.class_batches(20, streams("a")),
        lambda data: data.distinct_class_batches(20, 2, streams("a"))[1],
        lambda data: data.cycled_class_batches(20, 3, streams),
        lambda data: data.cycled_batch(64, 3, streams),
    ):
        assert same(*map(draw, datasets))


def test_training_accuracy_embeddings_and_hashes_are_those_of_floats(pair, monkeypatch):
    monkeypatch.setattr("cmidd.compute.passes.CHUNK_VALUES", 192 * 100)  # So that there are parts.
    recipe, found = TrainingRecipe(epochs=1, batch=64), []
    for split in pair:
        generator = torch.Generator().manual_seed(0)
        network = build_network("convnet", image_shape=(3, 8, 8), num_classes=5, generator=generator, width=8, depth=2)
        train(network, split, recipe, Streams(0), what=None)
        parameters = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
        found.append((parameters, embed_real(network, split), accuracy(network, split), digest([(split, recipe)])))
    for ours, theirs in zip(*found, strict=True):
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs
    # What earlier versions called a folder's images: of all floats in one piece.
    assert {_as_seen(split) for split in pair} == {hashlib.sha256(pair[1].images.numpy().tobytes()).hexdigest()}


def test_whitened_images_are_floats_made_at_once():
    pixels = torch.randint(0, 256, (50, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    zca = ZCA.fit(unit(pixels))
    ours = held(Split(pixels, torch.zeros(50)), zca, "cpu")
    assert type(ours) is Split
    assert torch.equal(ours.images, zca(pixels.float() / 255))
    assert type(load_dataset("digits", zca=True).train) is Split


@pytest.mark.parametrize("shape", [(1, 3, 9, 7), (40, 1, 8, 8), (333, 3, 17, 31), (3000, 3, 16, 16)], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_statistics_of_a_channel_at_a_time_are_those_of_all_at_once(shape, threads):
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        std, mean = torch.std_mean(pixels.float() / 255, dim=(0, 2, 3), correction=0)
        ours = _normalize(pixels, "train", repeated=False)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(ours.mean, mean)
    assert torch.equal(ours.std, std.clamp(min=1e-3))
