import pytest
import torch
import torch.nn.functional as F

from cmidd.compute.embeddings import mean_embedding_distance
from cmidd.compute.gradients import (
    DC_DISTANCES,
    IDC_DISTANCES,
    RecomputedGradients,
    class_gradients,
    convolutions,
    gradients_in_one_pass,
    gradients_one_by_one,
)
from cmidd.compute.passes import flat_call
from cmidd.data.split import Split
from cmidd.methods.idm import matching_loss
from cmidd.methods.mtt import StudentPasses, StudentStep, trajectory_distance
from cmidd.networks.convnet import ConvNet
from cmidd.synthetic.formation import Formation
from tests.support.golden import load_golden, load_parameters


def flat(golden, prefix):
    return torch.cat([golden[key].flatten() for key in sorted(golden) if key.startswith(prefix)])


def student_steps(golden):
    network = ConvNet(tuple(golden["images"].shape[1:]), int(golden["labels"].max()) + 1, width=8).double()
    steps = []
    for row in golden["batches"]:
        chunk = row[row >= 0]
        labels = golden["labels"][chunk]
        steps.append(StudentStep(StudentPasses(network), chunk, labels))
    return steps


def plain_unroll(images, syn_lr, start, target, steps):
    theta = start.clone().requires_grad_()
    for step in steps:
        loss = F.cross_entropy(flat_call(step.passes.network, theta, step.batch(images)), step.labels)
        theta = theta - syn_lr * torch.autograd.grad(loss, theta, create_graph=True)[0]
    return (theta - target).square().sum() / (start - target).square().sum()


def loss_and_gradients(distance, golden):
    images, syn_lr = golden["images"].clone().requires_grad_(), golden["syn_lr"].clone().requires_grad_()
    loss = distance(images, syn_lr, flat(golden, "start"), flat(golden, "target"), student_steps(golden))
    loss.backward()
    return loss.detach(), images.grad, syn_lr.grad


def test_dm_loss_and_gradient_equal_the_reference(golden_set):
    golden = load_golden(f"{golden_set}/dm")
    real, synthetic = golden["real"], golden["syn"].requires_grad_()
    classes, batch = real.shape[:2]
    network = load_parameters(ConvNet(tuple(real.shape[2:]), classes, width=8).double(), golden, "param")
    real_labels = torch.arange(classes).repeat_interleave(batch)
    labels = torch.arange(classes).repeat_interleave(len(synthetic) // classes)
    embedded = network.embed(real.flatten(0, 1)).detach()
    loss = mean_embedding_distance(embedded, real_labels, network.embed(synthetic), labels)
    loss.sum().backward()
    torch.testing.assert_close(loss, golden["loss_per_class"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(synthetic.grad, golden["grad_syn"], rtol=1e-6, atol=1e-9)


def test_mtt_loss_and_gradients_equal_the_reference(golden_set):
    golden = load_golden(f"{golden_set}/mtt")
    loss, grad_images, grad_lr = loss_and_gradients(trajectory_distance, golden)
    torch.testing.assert_close(loss, golden["loss"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(grad_images, golden["grad_images"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(grad_lr, golden["grad_syn_lr"], rtol=1e-6, atol=1e-9)


def test_adjoint_gradient_equals_the_plain_unroll(golden_set):
    golden = load_golden(f"{golden_set}/mtt")
    for ours, plain in zip(
        loss_and_gradients(trajectory_distance, golden), loss_and_gradients(plain_unroll, golden), strict=True
    ):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)


def members_of(labels, classes):
    return torch.stack([(labels == label).nonzero().flatten() for label in range(classes)])


def recomputed(network, data, members, *, create_graph):
    return RecomputedGradients.apply(data.images, network, data.labels, list(members))


@pytest.mark.parametrize("gradients", [gradients_one_by_one, gradients_in_one_pass, recomputed])
@pytest.mark.parametrize("distance", DC_DISTANCES)
def test_gradient_matching_equals_the_reference(golden_set, distance, gradients):
    golden = load_golden(f"{golden_set}/gradient_matching")
    images, synthetic = golden["real"], golden["syn"].requires_grad_()
    classes, batch = images.shape[:2]
    network = load_parameters(ConvNet(tuple(images.shape[2:]), classes, width=8).double(), golden, "param")
    real_labels = torch.arange(classes).repeat_interleave(batch)
    labels = torch.arange(classes).repeat_interleave(len(synthetic) // classes)
    real, syn = Split(images.flatten(0, 1), real_labels), Split(synthetic, labels)
    target = gradients(network, real, members_of(real_labels, classes), create_graph=False)
    ours = gradients(network, syn, members_of(labels, classes), create_graph=True)
    loss = DC_DISTANCES[distance](ours, target)
    loss.sum().backward()
    torch.testing.assert_close(loss, golden[f"{distance}_loss_per_class"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(loss.sum(), golden[f"{distance}_loss"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(synthetic.grad, golden[f"{distance}_grad_syn"], rtol=1e-6, atol=1e-9)


def convolutions_first(golden):
    """The reference's IDC network lists all convolutions, then all norms, then the classifier."""
    order = [0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 12, 13]
    return {f"param_{new:02d}": golden[f"param_{old:02d}"] for new, old in enumerate(order)}


@pytest.mark.parametrize("distance", ["mse", "l1"])
@pytest.mark.parametrize("gradients", [gradients_one_by_one, recomputed])
def test_idc_matching_equals_the_reference(golden_set, distance, gradients):
    golden = load_golden(f"{golden_set}/idc_matching")
    images, synthetic = golden["real"], golden["syn"].requires_grad_()
    classes = len(golden["param_13"])
    network = ConvNet(tuple(images.shape[1:]), classes, width=8).double()
    load_parameters(network, convolutions_first(golden), "param")
    label = int(golden["label"])
    real, syn = (Split(x, torch.full((len(x),), label)) for x in (images, synthetic))
    target = gradients_one_by_one(network, real, [torch.arange(len(images))], create_graph=False)
    ours = gradients(network, syn, [torch.arange(len(synthetic))], create_graph=True)
    loss = IDC_DISTANCES[distance](convolutions(ours), convolutions(target))
    loss.sum().backward()
    torch.testing.assert_close(loss.sum(), golden[f"{distance}_loss"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(synthetic.grad, golden[f"{distance}_grad_syn"], rtol=1e-6, atol=1e-9)


def test_idm_loss_and_gradient_equal_the_reference(golden_set):
    golden = load_golden(f"{golden_set}/idm")
    images, synthetic = golden["real"], golden["syn"].requires_grad_()
    network = ConvNet(tuple(images.shape[1:]), len(golden["param_13"]), width=8, norm="batchnorm").double()
    load_parameters(network, golden, "param")
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for number, norm in enumerate(norms):
        norm.running_mean.copy_(golden[f"bn{number}_running_mean"])
        norm.running_var.copy_(golden[f"bn{number}_running_var"])
    network.eval()
    formation = Formation(factor=2, tile_order="columns", shrink="bilinear")
    label = int(golden["label"])
    decoded = formation.cut(synthetic)
    # The function takes all classes; the golden figures have one, so the others get one image, the same twice.
    other = [i for i in range(len(golden["param_13"])) if i != label]
    real = Split(
        torch.cat([images, images[:1].expand(len(other), *images.shape[1:])]),
        torch.tensor([label] * len(images) + other),
    )
    syn = Split(
        torch.cat([decoded, images[:1].expand(len(other), *images.shape[1:])]),
        torch.tensor([label] * len(decoded) + other),
    )

    def loss_of(ce_weight):
        embedded = network.embed(real.images).detach(), network.embed(syn.images)
        return matching_loss(network, embedded, real.labels, syn.labels, ce_weight)[label]

    dm_term = loss_of(0)
    torch.testing.assert_close(dm_term, golden["dm_term"], rtol=1e-6, atol=1e-12)
    loss = loss_of(float(golden["train_accuracy_percent"] * golden["ce_weight"]))
    loss.backward()
    torch.testing.assert_close(loss, golden["loss"], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(synthetic.grad, golden["grad_syn"], rtol=1e-6, atol=1e-9)


def test_one_pass_and_class_by_class_agree_and_unequal_classes_are_taken_one_by_one():
    network = ConvNet((1, 8, 8), 3, width=4, depth=2).double()
    labels = torch.tensor([2, 0, 1, 1, 0, 2])
    data = Split(torch.randn(6, 1, 8, 8, dtype=torch.float64), labels)
    together = gradients_in_one_pass(network, data, members_of(labels, 3), create_graph=False)
    for ours, slow in zip(together, class_gradients(network, data, 3, create_graph=False), strict=True):
        torch.testing.assert_close(ours, slow)
    uneven = class_gradients(network, data[torch.arange(5)], 3, create_graph=False)
    alone = F.cross_entropy(network(data.images[[0]]), labels[[0]])
    torch.testing.assert_close(uneven[0][2], torch.autograd.grad(alone, network.features[0].weight)[0])


def test_one_joint_step_equals_the_reference_step_per_class_with_momentum():
    """Quadratic losses, ten classes; what differs is momentum still pending at the end."""
    generator = torch.Generator().manual_seed(0)
    goals = torch.randn(10, 3, generator=generator, dtype=torch.float64)
    lr, momentum = 0.02, 0.5

    def one_by_one():
        x = torch.zeros_like(goals, requires_grad=True)
        optimizer = torch.optim.SGD([x], lr, momentum)
        for _ in range(20):
            for label in range(10):
                optimizer.zero_grad()
                (x[label] - goals[label]).square().sum().backward()
                optimizer.step()
        return x.detach()

    joint = torch.zeros_like(goals, requires_grad=True)
    optimizer = torch.optim.SGD([joint], lr / (1 - momentum))
    for _ in range(20):
        optimizer.zero_grad()
        (joint - goals).square().sum().backward()
        optimizer.step()
    difference = (one_by_one() - joint.detach()).norm(dim=1) / goals.norm(dim=1)
    assert difference[:6].max() < 2e-3  # 0.5^4 of the last step is pending for the sixth, and so on
    assert difference.max() < 1e-2
