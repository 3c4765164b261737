import torch
import torch.nn.functional as F

from cmidd.networks import ConvNet
from cmidd.objectives.dm import mean_embedding_distance
from cmidd.objectives.mtt import flat_call, trajectory_distance
from tests.conftest import load_golden, load_parameters


def flat(golden, prefix):
    return torch.cat([golden[key].flatten() for key in sorted(golden) if key.startswith(prefix)])


def student_steps(golden):
    network = ConvNet(tuple(golden["images"].shape[1:]), int(golden["labels"].max()) + 1, width=8).double()
    steps = []
    for row in golden["batches"]:
        chunk = row[row >= 0]
        labels = golden["labels"][chunk]
        steps.append(lambda theta, x, c=chunk, y=labels: F.cross_entropy(flat_call(network, theta, x[c]), y))
    return steps


def plain_unroll(images, syn_lr, start, target, steps):
    theta = start.clone().requires_grad_()
    for step in steps:
        theta = theta - syn_lr * torch.autograd.grad(step(theta, images), theta, create_graph=True)[0]
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
