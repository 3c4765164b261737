"""Gradients of classes on a GPU: by the engine, in parts of bounded size, and as one class after another gives them."""

import pytest
import torch

from cmidd.compute import engine, gradients, passes
from cmidd.compute.engine import Engine
from cmidd.compute.gradients import class_gradients, gradients_in_one_pass, squared
from cmidd.data.split import Split
from cmidd.networks import build_network
from tests.support.pretended import pretended_device

CLASSES, EACH, VALUES = 6, 2, 64


def world(device="cpu", **options):
    generator = torch.Generator().manual_seed(0)
    network = build_network("convnet", (1, 8, 8), CLASSES, generator, torch.device(device), width=4, depth=1, **options)
    images = torch.randn(CLASSES * EACH, 1, 8, 8, generator=generator)
    return network, Split(images.to(device), torch.arange(CLASSES).repeat(EACH).to(device))


@pytest.fixture
def passed(monkeypatch):
    """How many images each pass of several classes has."""
    counted, plain = [], passes.gradients_of_classes

    def counting(network, images, labels):
        counted.append(labels.numel())
        return plain(network, images, labels)

    monkeypatch.setattr(passes, "gradients_of_classes", counting)
    return counted


def with_distance(network, data, **how):
    """Gradients of classes, and the gradient of a distance between them and others in the images."""
    leaf = data.images.detach().clone().requires_grad_()
    per_class = class_gradients(network, Split(leaf, data.labels), CLASSES, create_graph=True)
    (d_images,) = torch.autograd.grad(squared(per_class, [torch.ones_like(each) for each in per_class]).sum(), leaf)
    return [*(each.detach().cpu() for each in per_class), d_images.cpu()]


@pytest.mark.parametrize(
    ("most", "without_graph", "with_graph"),
    [(12, [12], [12]), (11, [6, 6], [6, 6]), (5, [4, 4, 4], [4, 4, 4]), (1, [2] * 6, [2] * 6)],
)
def test_a_gpu_takes_no_more_images_at_once_than_it_has_room_for(most, without_graph, with_graph, monkeypatch, passed):
    """And as many in every pass; where the graph of all would be too large it is made again class by class."""
    network, data = world()
    plain = class_gradients(network, data, CLASSES, create_graph=False)
    plain_pair = with_distance(network, data)
    assert not passed
    monkeypatch.setattr(gradients, "ONE_PASS_VALUES", most * VALUES)
    with pretended_device("cuda"):
        network, data = world("cuda")
        ours = class_gradients(network, data, CLASSES, create_graph=False)
        assert passed == without_graph
        passed.clear()
        pair = with_distance(network, data)
        assert passed == with_graph
    for one, other in zip([*plain, *plain_pair], [*ours, *pair], strict=True):
        torch.testing.assert_close(one, other.cpu(), rtol=1e-4, atol=1e-6)


def test_batch_norm_and_unequal_classes_go_one_by_one_on_a_gpu_as_well(passed):
    with pretended_device("cuda"):
        network, data = world("cuda", norm="batchnorm")
        class_gradients(network, data, CLASSES, create_graph=False)
        network, data = world("cuda")
        class_gradients(network, data[: CLASSES * EACH - 1], CLASSES, create_graph=False)
    assert not passed


def test_batch_norm_at_its_running_statistics_mixes_no_images_and_goes_in_one_pass(passed):
    with pretended_device("cuda"):
        network, data = world("cuda", norm="batchnorm")
        class_gradients(network.eval(), data, CLASSES, create_graph=False)
    assert sum(passed) == len(data)


def test_the_pass_of_several_classes_is_in_bf16_where_the_engine_is():
    network, data = world()
    members = torch.stack([(data.labels == label).nonzero().flatten() for label in range(CLASSES)])
    plain = gradients_in_one_pass(network, data, members, create_graph=False)
    with engine.using(Engine("bf16")):
        ours = gradients_in_one_pass(network, data, members, create_graph=False)
    assert {each.dtype for each in ours} == {torch.float32}
    differences = [float((a - b).norm() / a.norm()) for a, b in zip(plain, ours, strict=True) if a.norm() > 1e-4]
    assert 1e-4 < max(differences) < 0.2
