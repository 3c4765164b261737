"""The joint step is the steps of torch's optimisers class after class."""

import pytest
import torch

from cmidd.compute.class_steps import ClassAdamW, ClassSGD

LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def joint(leaf, kind):
    groups = [{"params": [leaf]}]
    if kind == "sgd":
        return ClassSGD(groups, LABELS, lr=0.1, momentum=0.5)
    return ClassAdamW(groups, LABELS, lr=0.1, weight_decay=0.01)


def one_by_one(leaf, kind):
    if kind == "sgd":
        return torch.optim.SGD([leaf], lr=0.1, momentum=0.5)
    return torch.optim.AdamW([leaf], lr=0.1, weight_decay=0.01)


def loss(images, weights):
    return (weights * images.sin()).flatten(1).sum(1)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_it_is_as_if_every_class_had_a_step_of_its_own(kind):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(6, 2, 3, generator=generator, dtype=torch.float64)
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    steps, published = joint(ours, kind), one_by_one(theirs, kind)
    for _ in range(4):
        weights = torch.randn(6, 2, 3, generator=generator, dtype=torch.float64)
        steps.prepare()
        steps.zero_grad()
        loss(ours, weights).sum().backward()
        steps.step()
        for label in range(3):
            published.zero_grad()
            loss(theirs, weights)[label == LABELS].sum().backward()
            published.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_scale_is_that_of_the_learning_rate():
    leaf = torch.ones(6, 1, requires_grad=True)
    steps = joint(leaf, "sgd")
    steps.scale = 0.5
    steps.prepare()
    leaf.grad = torch.ones_like(leaf)
    steps.step()
    # A step of 0.05, and momentum's half and quarter of it in the idle ones that are left to a class.
    torch.testing.assert_close(leaf.detach().flatten()[[0, 2, 4]], 1 - 0.05 * torch.tensor([1.75, 1.5, 1.0]))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_halved_scale_is_half_the_learning_rate_of_every_step(kind):
    generator = torch.Generator().manual_seed(0)
    start, gradient = (torch.randn(6, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    reached = []
    for lr, scale in ((0.1, 0.5), (0.05, 1.0)):
        leaf = start.clone().requires_grad_()
        steps = joint(leaf, kind)
        steps.param_groups[0]["lr"], steps.scale = lr, scale
        for _ in range(3):
            steps.prepare()
            leaf.grad = gradient.clone()
            steps.step()
        reached.append(leaf.detach())
    torch.testing.assert_close(*reached)
