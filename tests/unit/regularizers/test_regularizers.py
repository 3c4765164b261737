"""IID equals its reference, MIM4DD its definition; both leave alone what they should."""

import pytest
import torch

from cmidd import load_synthetic
from cmidd.networks import build_network
from cmidd.networks.convnet import ConvNet
from cmidd.regularizers.iid import class_scatter, covariance_distance
from cmidd.regularizers.mim4dd import label_nce
from tests.support.golden import load_golden
from tests.support.runs import run_here


def flat(golden, name):
    """``[C, n, ...]`` as images in a shuffled order, with their labels and the order."""
    values = golden[name]
    labels = torch.arange(len(values)).repeat_interleave(values.shape[1])
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    return values.flatten(0, 1)[order], labels[order], order


def test_covariance_matching_and_its_gradient_equal_the_reference():
    golden = load_golden("rgb32/iid")
    real, real_labels, _ = flat(golden, "real_feature_maps")
    synthetic, labels, order = flat(golden, "syn_feature_maps")
    distance = covariance_distance(real, real_labels, synthetic.requires_grad_(), labels)
    distance.sum().backward()
    torch.testing.assert_close(distance, golden["inter_feature_per_class"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(distance.sum(), golden["inter_feature"], rtol=1e-6, atol=1e-12)
    gradient = golden["grad_feature_maps"].flatten(0, 1)[order]
    torch.testing.assert_close(synthetic.grad, gradient, rtol=1e-6, atol=1e-9)


def test_class_centralisation_and_its_gradient_equal_the_reference():
    golden = load_golden("rgb32/iid")
    features, labels, order = flat(golden, "teacher_features")
    scatter = class_scatter(features.requires_grad_(), labels)
    scatter.sum().backward()
    torch.testing.assert_close(scatter, golden["inter_sample_per_class"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(scatter.sum(), golden["inter_sample"], rtol=1e-6, atol=1e-12)
    gradient = golden["grad_teacher_features"].flatten(0, 1)[order]
    torch.testing.assert_close(features.grad, gradient, rtol=1e-6, atol=1e-9)
    means = torch.stack([features[labels == label].mean(0) for label in range(len(scatter))])
    torch.testing.assert_close(features.grad, 2 * (features - means[labels]).detach())


def test_covariance_distance_of_images_to_themselves_is_zero_and_one_image_per_class_gets_no_gradient():
    maps, labels = torch.randn(12, 5, 4, dtype=torch.float64), torch.arange(3).repeat(4)
    assert covariance_distance(maps, labels, maps, labels).abs().max() < 1e-20
    alone, single = torch.randn(3, 5, 4, dtype=torch.float64).requires_grad_(), torch.arange(3)
    terms = covariance_distance(maps, labels, alone, single) + class_scatter(alone.flatten(1), single)
    terms.sum().backward()
    assert torch.equal(alone.grad, torch.zeros_like(alone))


def plain_nce(synthetic, labels, real, real_labels, temperature):
    per_class = {}
    for feature, label in zip(synthetic, labels.tolist(), strict=True):
        shares = [torch.exp(torch.cosine_similarity(feature, other, dim=0) / temperature) for other in real]
        own = sum(share for share, other in zip(shares, real_labels.tolist(), strict=True) if other == label)
        per_class.setdefault(label, []).append(-torch.log(own / sum(shares)))
    return torch.stack([torch.stack(per_class[label]).mean() for label in sorted(per_class)])


@pytest.mark.parametrize("per_class", [1, 3])
def test_the_contrastive_loss_is_its_definition_and_moves_even_a_single_image(per_class):
    generator = torch.Generator().manual_seed(0)
    synthetic = torch.randn(4 * per_class, 6, generator=generator, dtype=torch.float64).requires_grad_()
    real = torch.randn(20, 6, generator=generator, dtype=torch.float64)
    labels, real_labels = torch.arange(4).repeat(per_class), torch.arange(4).repeat(5)
    loss = label_nce(synthetic, labels, real, real_labels, 0.1)
    torch.testing.assert_close(loss, plain_nce(synthetic, labels, real, real_labels, 0.1), rtol=1e-9, atol=1e-12)
    loss.sum().backward()
    assert (synthetic.grad.flatten(1).norm(dim=1) > 1e-6).all()


def test_the_layers_of_a_network_end_in_its_embedding():
    images = torch.randn(3, 3, 32, 32)
    for name, count in (("convnet", 3), ("mlp", 1)):
        network = build_network(name, (3, 32, 32), 10, torch.Generator().manual_seed(0))
        layers = network.layers(images)
        assert len(layers) == count
        assert torch.equal(layers[-1].flatten(1), network.embed(images))
        assert torch.equal(network.as_map(network.embed(images)).flatten(1), network.embed(images))


@pytest.mark.parametrize(
    ("method", "added"), [("dm", "[iid,mim4dd]"), ("idm", "[iid,mim4dd]"), ("idc", "[iid,mim4dd]"), ("mtt", "[mim4dd]")]
)
def test_weight_zero_gives_the_bits_of_the_plain_method_and_another_weight_does_not(tmp_path, method, added):
    names = added.strip("[]").split(",")
    images = []
    for weight in (None, 0, 1):
        words = [] if weight is None else [f"regularizer={added}", *(f"{name}.lambda={weight}" for name in names)]
        folder = run_here(tmp_path / f"results{weight}", method, "cmi.lambda=0.1", *words)
        images.append(load_synthetic(folder / "synthetic.safetensors").images)
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


def test_every_batch_passes_the_matching_network_once_whoever_asks(tmp_path, monkeypatch):
    calls = []
    embed = ConvNet.embed

    def counted(self, images):
        if self.width == 9 and not images.is_meta:  # the matching networks; teachers have another width
            calls.append(len(images))
        return embed(self, images)

    monkeypatch.setattr(ConvNet, "embed", counted)
    words = ["network.width=9", "cmi.teacher=mlp", "evaluation.repeats=1", "evaluation.training.epochs=1"]
    counts = []
    for more in ([], ["regularizer=iid"]):
        calls.clear()
        run_here(tmp_path / f"results{len(more)}", "dm", *words, *more)
        counts.append(len(calls))
    assert counts[0] == counts[1]
