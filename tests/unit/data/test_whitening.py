"""The whitening of KIP and of FRePo beside a slow plain version, and back from what is stored of it."""

import pytest
import torch

from cmidd.data.load import load_dataset
from cmidd.data.preprocessing import Normalize, expected_shapes, from_tensors
from cmidd.data.whitening import OF_FREPO, fit
from cmidd.synthetic.exported import export
from cmidd.synthetic.load import load_synthetic
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

PIXELS = torch.rand(200, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def whitened_slowly(flat, centred):
    """With the covariance C: x C'^(-1/2), where C' is C and a tenth of its mean variance."""
    flat = flat - flat.mean(0) if centred else flat
    covariance = sum(torch.outer(row, row) for row in flat) / len(flat)
    size = len(covariance)
    left, values, _ = torch.linalg.svd(covariance + 0.1 * covariance.trace() / size * torch.eye(size).double())
    return flat @ left @ values.pow(-0.5).diag() @ left.T


def test_kip_takes_the_mean_from_each_image_and_whitens_its_direction():
    expected = whitened_slowly(
        torch.stack([(image - image.mean()) / (image - image.mean()).norm() for image in PIXELS.double()]).flatten(1),
        centred=False,
    )
    found = fit("kip", PIXELS, "cifar10")(PIXELS)
    torch.testing.assert_close(found.flatten(1).double(), expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_frepo_normalises_the_channels_and_whitens(dataset):
    mean, std = (torch.tensor(values).double()[:, None, None] for values in OF_FREPO[dataset])
    expected = whitened_slowly(((PIXELS.double() - mean) / std).flatten(1), centred=True)
    found = fit("frepo", PIXELS, dataset)(PIXELS)
    torch.testing.assert_close(found.flatten(1).double(), expected, atol=1e-4, rtol=1e-3)


def test_frepo_whitens_no_digits_and_refuses_what_it_whitens_in_blocks():
    assert isinstance(fit("frepo", PIXELS[:, :1], "mnist"), Normalize)
    with pytest.raises(SettingError, match="dataset=imagenette: FRePo's whitening is read for cifar10"):
        fit("frepo", PIXELS, "imagenette")


def test_the_parts_that_are_added_up_make_no_difference(monkeypatch):
    whole = fit("frepo", PIXELS, "cifar10")(PIXELS)
    monkeypatch.setattr("cmidd.data.whitening.AT_ONCE", 7)
    torch.testing.assert_close(fit("frepo", PIXELS, "cifar10")(PIXELS), whole, atol=1e-4, rtol=1e-4)


def test_frepos_images_go_back_to_their_pixels_and_kips_to_their_pattern():
    frepo, kip = fit("frepo", PIXELS, "cifar10"), fit("kip", PIXELS, "cifar10")
    torch.testing.assert_close(frepo.inverse(frepo(PIXELS)), PIXELS, atol=1e-4, rtol=0)
    back = kip.inverse(kip(PIXELS))
    # Mean and length of an image are lost; its pattern comes back at those of the training images.
    torch.testing.assert_close(kip(back), kip(PIXELS), atol=1e-4, rtol=1e-3)
    assert float((back.mean() - PIXELS.mean()).abs()) < 1e-4


def test_an_image_of_one_colour_is_whitened_to_nothing_special():
    assert fit("kip", PIXELS, "cifar10")(torch.full((3, 4, 4), 0.5)).isfinite().all()


@pytest.mark.parametrize("kind", ["kip", "frepo"])
def test_what_is_stored_makes_the_same_map(kind):
    made = fit(kind, PIXELS, "cifar10")
    stored = made.tensors()
    assert {name: list(tensor.shape) for name, tensor in stored.items()} == expected_shapes(stored, PIXELS)
    assert torch.equal(from_tensors(stored)(PIXELS), made(PIXELS))


@pytest.mark.parametrize("kind", ["kip", "frepo"])
def test_a_set_in_such_a_space_is_kept_and_exported_whole(tmp_path, monkeypatch, kind):
    monkeypatch.setitem(OF_FREPO, "digits", ((0.3,), (0.37,)))
    pixels = load_dataset("digits").preprocessing.inverse(load_dataset("digits").train.images)
    data = load_dataset("digits", preprocessing=fit(kind, pixels, "digits"))
    synthetic = SyntheticSet.from_real(data, 1, Streams(0)("init"))
    synthetic.save(tmp_path / "synthetic.safetensors")
    export(synthetic, tmp_path / "out")
    for path in (tmp_path / "synthetic.safetensors", tmp_path / "out"):
        loaded = load_synthetic(path)
        assert torch.equal(loaded.transform(pixels[:9]), synthetic.transform(pixels[:9]))
