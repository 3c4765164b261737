"""Soft labels of a set: kept in its file and in an exported folder, reordered, decoded, and no matter of CMI."""

import dataclasses

import pytest
import torch

from cmidd import load_synthetic
from cmidd.core.match import Match
from cmidd.data.load import load_dataset
from cmidd.regularizers.cmi import CMI
from cmidd.synthetic.classes import by_name
from cmidd.synthetic.exported import export
from cmidd.synthetic.formation import Formation
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import tensor_files
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from tests.support.contexts import context

PIXELS = Formation(factor=2, stored_as="pixels")
KINDS = ("logits", "probabilities")


def soft(kind, count=20, seed=0):
    values = torch.randn(count, 10, generator=torch.Generator().manual_seed(seed)) * 3
    return SoftLabels(values if kind == "logits" else values.softmax(1), kind)


def made(kind="logits", formation=None):
    synthetic = SyntheticSet.from_real(load_dataset("digits"), 2, Streams(0)("init"), formation)
    synthetic.soft_labels = soft(kind)
    return synthetic


def in_stages(kind="logits"):
    synthetic = made(kind)
    synthetic.begin_stage(synthetic.leaf * 0.5, synthetic.leaf_labels, soft(kind, seed=1))
    return synthetic


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [made, in_stages])
@pytest.mark.parametrize("way", ["file", "folder"])
def test_they_come_back_exactly_with_their_kind_beside_the_hard_labels(tmp_path, kind, make, way):
    synthetic = make(kind)
    synthetic.about = {"dataset": "digits", "method": "mtt", "ipc": 2}
    synthetic.save(tmp_path / "set.safetensors")
    export(synthetic, tmp_path / "folder")
    loaded = load_synthetic(tmp_path / {"file": "set.safetensors", "folder": "folder"}[way])
    assert loaded.all_soft_labels.kind == kind
    assert torch.equal(loaded.all_soft_labels.values, synthetic.all_soft_labels.values)
    assert torch.equal(loaded.soft_labels.values, synthetic.soft_labels.values)
    assert torch.equal(loaded.labels, synthetic.labels)
    assert loaded.about == synthetic.about
    assert loaded.labels.tolist() != loaded.all_soft_labels.hard.tolist()  # Which they need not agree with.
    assert f"soft labels ({kind})" in repr(loaded)


def test_a_set_without_them_says_nothing_of_them(tmp_path):
    synthetic = SyntheticSet.from_real(load_dataset("digits"), 1, Streams(0)("init"))
    tensors, header = synthetic.stored()
    assert "soft_labels" not in tensors | header
    assert "soft" not in repr(synthetic)
    export(synthetic, tmp_path / "out")
    assert not (tmp_path / "out" / "soft_labels.safetensors").exists()
    assert synthetic.decode().soft is None


def test_decoded_they_are_logits_for_every_tile_and_stage():
    plain, tiled = made("probabilities"), made("probabilities", PIXELS)
    logits = plain.soft_labels.values.log()
    torch.testing.assert_close(plain.decode().soft, logits)
    torch.testing.assert_close(tiled.decode().soft, logits.repeat(4, 1))
    staged = in_stages()
    first, second = (split for split, _ in staged.decode_stages())
    assert torch.equal(first.soft, staged.finished[0].soft_labels.values)
    assert torch.equal(second.soft, staged.all_soft_labels.values)


def test_training_images_carry_their_gradient_and_decoded_ones_do_not():
    synthetic = made(formation=PIXELS)
    synthetic.soft_labels.values.requires_grad_()
    assert not synthetic.decode().soft.requires_grad
    synthetic.training_images().soft.sum().backward()
    assert (synthetic.soft_labels.values.grad == 4).all()


def test_their_columns_follow_the_classes():
    synthetic = in_stages()
    order = synthetic.classes[3:] + synthetic.classes[:3]
    mapped = by_name(synthetic, order, "a set", "digits")
    for was, name in enumerate(synthetic.classes):
        now = order.index(name)
        assert torch.equal(mapped.all_soft_labels.values[:, now], synthetic.all_soft_labels.values[:, was])
    assert [order[label] for label in mapped.labels] == [synthetic.classes[label] for label in synthetic.labels]


def test_stages_have_all_of_them_or_none_and_of_one_kind():
    for other in (None, soft("probabilities")):
        with pytest.raises(ValueError, match="a stage with soft labels of the kind"):
            made().begin_stage(torch.rand(20, 1, 8, 8), torch.arange(10).repeat(2), other)


FLAWS = {
    "of other classes": ({"soft_labels": torch.rand(20, 9)}, {}, r"soft labels \[20, 9\] for 20 images of 10 classes"),
    "of other images": ({"soft_labels": torch.rand(3, 10)}, {}, r"soft labels \[3, 10\] for 20 images"),
    "not finite": ({"soft_labels": torch.full((20, 10), torch.nan)}, {}, "other than finite floating-point numbers"),
    "whole numbers": ({"soft_labels": torch.ones(20, 10, dtype=torch.int64)}, {}, "soft_labels of torch.int64"),
    "no probabilities": ({}, {"soft_labels": "probabilities"}, "soft labels that are no probabilities"),
    "of another kind": ({}, {"soft_labels": "odds"}, "soft_labels=odds: Input should be 'logits' or 'probabilities'"),
    "unsaid": ({}, {"soft_labels": None}, "without the header's word whether they are logits or probabilities"),
    "absent": ({"soft_labels": None}, {}, "no soft_labels, which the header calls logits"),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_bad_ones_are_refused_in_one_line_that_names_the_file(tmp_path, flaw):
    tensors, header = made().stored()
    others, said, expected = FLAWS[flaw]
    tensors, header = (
        {name: value for name, value in both.items() if value is not None}
        for both in ({**tensors, **others}, {**header, **said})
    )
    tensor_files.write_tensors(tmp_path / "set.safetensors", tensors, header)
    with pytest.raises(SettingError, match=rf"^{tmp_path}/set\.safetensors: .*{expected}") as error:
        load_synthetic(tmp_path / "set.safetensors")
    assert "\n" not in str(error.value)


def test_an_exported_folder_without_their_file_is_refused(tmp_path):
    export(made(), tmp_path / "out")
    (tmp_path / "out" / "soft_labels.safetensors").unlink()
    with pytest.raises(SettingError, match=r"out/soft_labels\.safetensors: no such file"):
        load_synthetic(tmp_path / "out")


def test_cmi_is_of_the_class_that_an_image_stands_for(tmp_path):
    world = context(tmp_path, ipc=2)
    teacher = world.new_network(Streams(1)("teacher")).eval().requires_grad_(False)

    class Pools:
        def __call__(self):
            return self

        def draw(self, generator):
            return teacher

    def value(synthetic):
        decoded = synthetic.decode()
        match = Match(torch.zeros(()), decoded.images, decoded.labels)
        return float(CMI(world, Pools())(match, torch.Generator()))

    plain, softly = world.synthetic, dataclasses.replace(world.synthetic, soft_labels=soft("logits"))
    assert value(softly) == value(plain)
    turned = dataclasses.replace(softly, leaf_labels=softly.soft_labels.hard)
    assert value(turned) != value(plain)
