"""The discrepancy of characteristic functions is the published code's."""

import pytest
import torch

from cmidd.compute.characteristic import characteristic_discrepancy
from cmidd.compute.frequency_network import FrequencyNetwork
from tests.support.golden import load_golden, load_parameters


@pytest.fixture(params=["rgb32", "gray28"])
def golden(request):
    return load_golden(f"{request.param}/ncfm")


def test_losses_and_gradients_are_those_of_the_published_code(golden):
    for number, (alpha, beta) in enumerate(golden["cf_weights"].tolist()):
        leaves = [golden[f"cf_{name}"].clone().requires_grad_() for name in ("real", "syn", "t")]
        loss = characteristic_discrepancy(*leaves, alpha, beta)
        torch.testing.assert_close(loss, golden["cf_loss"][number], rtol=1e-6, atol=0)
        for name, gradient in zip(("real", "syn", "t"), torch.autograd.grad(loss, leaves), strict=True):
            expected = golden[f"cf_grad_{name}"][number]
            torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_equal_samples_have_the_floor_and_no_gradient(golden):
    synthetic = golden["cf_real"].clone().requires_grad_()
    loss = characteristic_discrepancy(golden["cf_real"], synthetic, golden["cf_t"])
    torch.testing.assert_close(loss, golden["cf_equal_loss"], rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(loss, synthetic)
    assert torch.equal(gradient, golden["cf_equal_grad_syn"]) and not gradient.any()


def test_float32_keeps_its_digits_also_where_the_samples_are_close():
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(200, 30, generator=generator, dtype=torch.float64)
    near = real + 1e-3 * torch.randn(200, 30, generator=generator, dtype=torch.float64)
    frequencies = torch.randn(50, 30, generator=generator, dtype=torch.float64)

    def gradient(dtype):
        leaf = near.to(dtype).requires_grad_()
        loss = characteristic_discrepancy(real.to(dtype), leaf, frequencies.to(dtype))
        return torch.autograd.grad(loss, leaf)[0].double()

    exact = gradient(torch.float64)
    assert float((gradient(torch.float32) - exact).norm() / exact.norm()) < 2e-3


def test_the_sampling_network_and_what_it_ascends_are_the_published_ones(golden):
    real, synthetic = golden["sampler_real"], golden["sampler_syn"]
    network = load_parameters(FrequencyNetwork(real.shape[1]).double(), golden, "sampler")
    frequencies = network(golden["sampler_noise"])
    torch.testing.assert_close(frequencies.detach(), golden["sampler_t"], rtol=1e-6, atol=1e-9)
    loss = characteristic_discrepancy(real, synthetic, frequencies)
    torch.testing.assert_close(loss.detach(), golden["sampler_loss"], rtol=1e-6, atol=0)
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    largest = max(float(gradient.abs().max()) for gradient in gradients)
    for number, gradient in enumerate(gradients):
        torch.testing.assert_close(gradient, golden[f"sampler_grad_{number:02d}"], rtol=0, atol=1e-6 * largest)


def test_equal_generators_draw_equal_sampling_networks():
    first, second = (FrequencyNetwork(5).draw(torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first.parameters(), second.parameters(), strict=True))
    assert float(first.layers[0].weight.detach().abs().max()) <= 5**-0.5
