"""GSAM's steps are those of DATM's published experts."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from cmidd.compute.gsam import GSAM
from cmidd.networks import build_network
from tests.support.golden import load_golden


@pytest.fixture(params=["rgb32", "gray28"])
def golden(request):
    return load_golden(f"{request.param}/datm")


def expert(golden):
    pool = golden["pool"]
    network = build_network(
        name="convnet",
        image_shape=pool.shape[2:],
        num_classes=int(golden["classes"]),
        width=int(golden["width"]),
        depth=int(golden["depth"]),
        generator=torch.Generator(),
        device="cpu",
    ).double()
    vector_to_parameters(golden["experts"][0, 0].clone(), network.parameters())
    return network


def closure_of(network, optimizer, images, labels):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        return loss.detach()

    return closure


def test_an_expert_takes_the_published_path(golden):
    network, size = expert(golden), int(golden["gsam_batch"])
    rho, alpha = float(golden["gsam_rho"]), float(golden["gsam_alpha"])
    optimizer = GSAM(network.parameters(), float(golden["gsam_lr"]), rho, alpha)
    images = golden["pool"].flatten(0, 1)
    labels = torch.arange(int(golden["classes"])).repeat_interleave(golden["pool"].shape[1])
    for epoch, order in enumerate(golden["gsam_order"], 1):
        for number, chunk in enumerate(order.split(size)):
            before = parameters_to_vector(network.parameters()).detach()
            optimizer.step(closure_of(network, optimizer, images[chunk], labels[chunk]))
            if epoch == 1 and number == 0:
                moved = (before - parameters_to_vector(network.parameters()).detach()) / float(golden["gsam_lr"])
                expected = golden["gsam_direction"]
                torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))
        row = golden["experts"][0, epoch]
        reached = parameters_to_vector(network.parameters()).detach()
        torch.testing.assert_close(reached, row, rtol=0, atol=1e-6 * float(row.abs().max()))


def test_a_step_returns_what_was_found_before_it():
    network = torch.nn.Linear(2, 2)
    optimizer = GSAM(network.parameters(), 0.1, 0.01, 0.3)
    images, labels = torch.ones(3, 2), torch.tensor([0, 1, 0])
    expected = F.cross_entropy(network(images), labels).detach()
    assert torch.equal(optimizer.step(closure_of(network, optimizer, images, labels)), expected)
