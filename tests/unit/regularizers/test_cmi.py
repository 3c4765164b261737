import pytest
import torch

from cmidd.compute import passes
from cmidd.data.split import Split
from cmidd.networks import build_network
from cmidd.regularizers.cmi import class_log_centroids, conditional_mutual_information
from tests.support.golden import load_golden


def entropy_gap(features, labels):
    """Mean over classes of H(Q_y) - mean H(P_s), written plainly."""
    p = features.softmax(1)
    entropy = torch.special.entr
    gaps = []
    for label in labels.unique():
        members = p[labels == label]
        gaps.append(entropy(members.mean(0)).sum() - entropy(members).sum(1).mean())
    return torch.stack(gaps).mean()


def test_cmi_and_its_gradient_equal_the_reference(golden_set):
    golden = load_golden(f"{golden_set}/cmi")
    features = golden["features"].requires_grad_()
    value = conditional_mutual_information(features, golden["labels"])
    value.backward()
    torch.testing.assert_close(value, golden["cmi"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(features.grad, golden["grad_features"], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_cmi_is_the_entropy_gap_of_the_classes_in_any_order(seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(5).repeat(4)[torch.randperm(20, generator=generator)]
    features = 3 * torch.randn(20, 33, generator=generator, dtype=torch.float64)
    value = conditional_mutual_information(features, labels)
    torch.testing.assert_close(value, entropy_gap(features, labels), rtol=1e-10, atol=1e-12)


def test_cmi_is_zero_at_one_image_per_class_with_zero_gradient():
    features = torch.randn(10, 32, dtype=torch.float64).requires_grad_()
    value = conditional_mutual_information(features, torch.arange(10))
    value.backward()
    assert abs(value) < 1e-12
    assert features.grad.abs().max() < 1e-12


def test_huge_features_and_a_missing_class_give_finite_values():
    features = (1e4 * torch.randn(12, 64)).requires_grad_()
    value = conditional_mutual_information(features, torch.tensor([0, 0, 0, 0, 2, 2, 2, 2, 7, 7, 7, 7]))
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(features.grad).all()


def test_real_centroids_are_the_mean_softmax_of_the_class_and_give_one_image_per_class_a_gradient(monkeypatch):
    real = Split(torch.randn(30, 1, 8, 8), torch.arange(3).repeat(10))
    network = build_network("convnet", (1, 8, 8), 3, torch.Generator().manual_seed(0), width=8, depth=1)
    monkeypatch.setattr(passes, "CHUNK_VALUES", 7 * 64)
    log_q = class_log_centroids(network, real)
    p = network.embed(real.images).softmax(1)
    torch.testing.assert_close(log_q.exp(), torch.stack([p[real.labels == label].mean(0) for label in range(3)]))
    features = network.embed(torch.randn(3, 1, 8, 8))
    labels = torch.arange(3)
    expected = torch.nn.functional.kl_div(log_q, features.log_softmax(1), reduction="batchmean", log_target=True)
    torch.testing.assert_close(conditional_mutual_information(features, labels, log_q), expected)
    assert conditional_mutual_information(features, labels).abs() < 1e-6 < expected
