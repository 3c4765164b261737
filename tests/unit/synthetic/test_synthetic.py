"""What a synthetic set starts from, keeps, and says when it is read."""

import pytest
import torch

from cmidd import load_synthetic
from cmidd.data.load import load_dataset
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

PIXELS = Formation(factor=2, stored_as="pixels")


@pytest.fixture(scope="module")
def data():
    return load_dataset("digits")


def test_noise_is_standard_normal_in_input_space_and_uniform_in_pixels(data):
    normal, uniform = (SyntheticSet.from_noise(data, 50, Streams(0)("init"), each) for each in (None, PIXELS))
    assert abs(normal.images.mean()) < 0.02
    assert abs(normal.images.std() - 1) < 0.02
    assert 0 <= uniform.images.min() < 0.01 < 0.99 < uniform.images.max() <= 1
    assert (normal.formation, uniform.formation) == (Formation(), PIXELS)
    for synthetic in (normal, uniform):
        assert synthetic.images.shape == (500, 1, 8, 8)
        assert synthetic.labels.tolist() == [label for label in range(10) for _ in range(50)]
        assert synthetic.transform is data.preprocessing
        assert synthetic.classes == data.classes


def test_a_real_start_is_distinct_images_of_the_right_class(data):
    synthetic = SyntheticSet.from_real(data, 5, Streams(0)("init"))
    known = {
        image.numpy().tobytes(): int(label) for image, label in zip(data.train.images, data.train.labels, strict=True)
    }
    assert [known[image.numpy().tobytes()] for image in synthetic.images] == synthetic.labels.tolist()
    assert len({image.numpy().tobytes() for image in synthetic.images}) == 50
    synthetic.leaf += 1  # a copy of its own
    assert data.train.images.max() == load_dataset("digits").train.images.max()


def test_pixels_are_pixels_from_the_start_and_as_pictures_nothing_else_is_clipped(data):
    stored = SyntheticSet.from_real(data, 3, Streams(0)("init"), PIXELS)
    assert stored.leaf.min() >= 0
    assert 0.9 < stored.leaf.max() <= 1
    assert torch.equal(stored.pixels(), stored.leaf)
    plain = SyntheticSet.from_real(data, 3, Streams(0)("init"))
    torch.testing.assert_close(plain.pixels(), data.preprocessing.inverse(plain.leaf))
    plain.leaf = plain.leaf * 10
    assert (plain.pixels().min(), plain.pixels().max()) == (0, 1)


def test_a_stored_set_comes_back_whole(data, tmp_path):
    synthetic = SyntheticSet.from_real(data, 2, Streams(0)("init"), PIXELS)
    synthetic.about = {"method": "idc", "ipc": 2}
    for plain in (True, False):
        if not plain:
            synthetic.syn_lr = torch.tensor(0.02, requires_grad=True)
            synthetic.begin_stage(synthetic.leaf * 0.5, synthetic.leaf_labels)
        synthetic.save(tmp_path / "set.safetensors")
        loaded = load_synthetic(tmp_path / "set.safetensors", "cpu")
        for name in ("images", "labels", "stages"):
            assert torch.equal(getattr(loaded, name), getattr(synthetic, name))
        for name in ("classes", "formation", "about"):
            assert getattr(loaded, name) == getattr(synthetic, name)
        assert loaded.syn_lr is None
        raw = torch.rand(2, 1, 8, 8)
        assert torch.equal(loaded.transform(raw), synthetic.transform(raw))
    assert float(loaded.finished[0].syn_lr) == pytest.approx(0.02)
    assert not synthetic.finished[0].syn_lr.requires_grad
    assert [len(split) for split, _ in loaded.decode_stages()] == [80, 160]


def test_a_decoded_set_has_no_graph_and_training_images_have_one(data):
    synthetic = SyntheticSet.from_real(data, 2, Streams(0)("init"), PIXELS)
    synthetic.leaf.requires_grad_()
    assert synthetic.training_images().images.requires_grad
    assert not synthetic.decode().images.requires_grad
    assert torch.equal(synthetic.decode().labels, synthetic.training_images().labels)


def test_what_is_no_set_of_ours_is_refused_with_its_name(data, tmp_path):
    path = tmp_path / "set.safetensors"
    with pytest.raises(SettingError, match=r"set\.safetensors: no such file; give a synthetic\.safetensors"):
        load_synthetic(path)
    path.write_bytes(b"nothing")
    with pytest.raises(SettingError, match="damaged or not a safetensors file"):
        load_synthetic(path)
    torch.save(torch.rand(2), other := tmp_path / "images_best.pt")
    with pytest.raises(
        SettingError, match=r"images_best.pt: a set of others, which only evaluate.py reads; give a synth"
    ):
        load_synthetic(other)
    images, labels = torch.rand(2, 1, 8, 8), torch.arange(2)
    header = {"format": 1, "classes": ["0", "1"]}
    for tensors, about, flaw in (
        ({"images": images, "labels": labels}, {}, "format: missing"),
        ({"images": images, "labels": labels}, header | {"format": 2}, "format=2: Input should be 1"),
        ({"images": images, "labels": labels}, {"format": 1}, "classes: missing"),
        ({"images": images}, header, r"labels \[0\] instead of"),
        ({"labels": labels}, header, r"images \[0\] and labels"),
    ):
        tensor_files.write_tensors(path, tensors, about)
        with pytest.raises(SettingError, match=f"set.safetensors: .*{flaw}.*(; give a synthetic|make it again)"):
            load_synthetic(path)
