"""Each method's step as its reference takes it, for ``bench.py`` to compare with: class after class, float32, NCHW,
nothing compiled, parameters of affine augmentations made in Python for each image, CMI's teacher read from its file.

Only the cost is a reference's: numbers are drawn as everywhere here. Each generator yields after an optimiser step.
"""

import copy
import math
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from cmidd.compute.gradients import convolutions
from cmidd.compute.passes import flat_call
from cmidd.compute.training import TrainingRecipe, train, train_step
from cmidd.data.augmentation import Transform
from cmidd.data.dataset import Dataset
from cmidd.data.image_ops import MAX_ANGLE, MAX_SCALE
from cmidd.data.split import Split
from cmidd.methods.dc import DC
from cmidd.methods.dm import DM
from cmidd.methods.idc import IDC
from cmidd.methods.idm import IDM
from cmidd.methods.mtt import MTT
from cmidd.networks import Network
from cmidd.regularizers.cmi import conditional_mutual_information
from cmidd.utils import tensor_files

Term = Callable[[Tensor, Tensor], Tensor]


"""What is added to the loss, of synthetic images and labels: CMI, or zero."""


def dm(method: DM, term: Term) -> Iterator[None]:
    context, synthetic = method.context, method.context.synthetic
    optimizer = method.optimizer()
    for iteration in count():
        network = context.new_network(context.streams("network", iteration)).requires_grad_(False)
        loss = term(synthetic.images, synthetic.labels)
        for label in range(context.data.num_classes):
            real, images = _siamese(method, label, synthetic.images[synthetic.labels == label], iteration)
            loss = loss + (network.embed(real).detach().mean(0) - network.embed(images).mean(0)).square().sum()
        _step(optimizer, loss)
        yield


def gradient(method: DC, term: Term) -> Iterator[None]:
    context, synthetic = method.context, method.context.synthetic
    optimizer = method.optimizer()
    for iteration in count():
        network = context.new_network(context.streams("network", iteration))
        for step in range(method.steps_per_iteration):
            loss = term(synthetic.images, synthetic.labels)
            for label in range(context.data.num_classes):
                real, images = _siamese(method, label, synthetic.images[synthetic.labels == label], iteration)
                pair = _gradients(network, label, real, images)
                loss = loss + method.distance(*pair).sum()
            _step(optimizer, loss)
            if step + 1 < method.steps_per_iteration:
                streams = context.streams.child("net", iteration, step)
                train(network, synthetic.decode(), method.net, streams, what=None)
            yield


def idc(method: IDC, term: Term) -> Iterator[None]:
    context, synthetic = method.context, method.context.synthetic
    optimizer = method.optimizer()
    for iteration in count():
        network = context.new_network(context.streams("network", iteration))
        net_optimizer = method.net.new_optimizer(network)
        for step in range(method.steps_per_iteration):
            for label in range(context.data.num_classes):
                decoded = synthetic.training_images()
                own = decoded.images[decoded.labels == label][: method.batch_syn_max]
                real, images = _siamese(method, label, own, iteration)
                pair = [convolutions(side) for side in _gradients(network, label, real, images)]
                _step(optimizer, method.distance(*pair).sum() + term(own, torch.full((len(own),), label)))
            for net_step in range(method.net_steps):
                generator = context.streams("net", step, net_step)
                batch = _random_batch(context.data, method.net.batch, generator)
                train_step(network, net_optimizer, batch, method.net, generator)
            yield


def idm(method: IDM, term: Term) -> Iterator[None]:
    context, synthetic = method.context, method.context.synthetic
    optimizer = method.optimizer()
    for iteration in count():
        network = method.queue[0].network.eval()
        for label in range(context.data.num_classes):
            decoded = synthetic.training_images()
            own = decoded.images[decoded.labels == label]
            labels = torch.full((len(own),), label, device=own.device)
            real, images = _siamese(method, label, own, iteration)
            distance = (network.embed(real).detach().mean(0) - network.embed(images).mean(0)).square().sum()
            # The reference passes the images through the network once more for the logits.
            _step(optimizer, distance + 0.5 * F.cross_entropy(network(images), labels) + term(own, labels))
        for index in range(method.fetch_nets):
            queued = method.queue[index]
            for net_step in range(method.net_steps):
                generator = context.streams("net", iteration, net_step)
                # The list of all indices is made and shuffled anew for every batch.
                chosen = torch.tensor(list(range(len(context.data.train))))[torch.randperm(len(context.data.train))]
                batch = context.data.train[chosen[: method.net.batch].to(context.data.device)]
                train_step(queued.network, queued.optimizer, batch, method.net, generator)
        yield


def mtt(method: MTT, term: Term) -> Iterator[None]:
    context, synthetic = method.context, method.context.synthetic
    optimizer = method.optimizer()
    assert synthetic.syn_lr is not None
    for iteration in count():
        start = parameters_to_vector(method.student.parameters()).detach()
        theta = start.clone().requires_grad_()
        for step in range(method.syn_steps):
            order = torch.randperm(len(synthetic.labels))[: method.batch_syn].to(synthetic.labels.device)
            generator = context.streams("augment", iteration, step)
            images = _in_python(method.augment.per_image(len(order), generator))(synthetic.images[order])
            loss = F.cross_entropy(flat_call(method.student, theta, images), synthetic.labels[order])
            theta = theta - synthetic.syn_lr * torch.autograd.grad(loss, theta, create_graph=True)[0]
        distance = (theta - start - 0.01).square().sum() / (0.01**2 * len(start))
        _step(optimizer, distance + term(synthetic.images, synthetic.labels))
        yield


REFERENCE_STEPS: dict[str, Callable[[Any, Term], Iterator[None]]] = {
    "dm": dm,
    "dc": gradient,
    "dsa": gradient,
    "mtt": mtt,
    "idm": idm,
    "idc": idc,
}


def training_step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Split,
    recipe: TrainingRecipe,
    generator: torch.Generator,
) -> None:
    """A step of training, with its accuracy read back to Python every time."""
    images = _in_python(recipe.augment.per_image(len(batch), generator))(batch.images)
    logits = network(images)
    loss = F.cross_entropy(logits, batch.labels)
    (logits.argmax(1) == batch.labels).sum().item()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    loss.item()


def cmi_from_file(teacher: Network, path: Path) -> Term:
    """CMI with a teacher that is built and read from its file for every call."""
    tensor_files.write_tensors(path, teacher.state_dict(), {})

    def term(images: Tensor, labels: Tensor) -> Tensor:
        fresh = copy.deepcopy(teacher).requires_grad_(False)
        fresh.load_state_dict(tensor_files.read_tensors(path)[0])
        return conditional_mutual_information(fresh.embed(images), labels)

    return term


class _InPython(Transform):
    """The affine operations with a list of matrices made in Python, one for each image."""

    def _apply(self, operation: str, images: Tensor, u: Tensor) -> Tensor:
        if operation not in ("scale", "rotate"):
            return super()._apply(operation, images, u)
        theta = []
        for row in u:
            if operation == "scale":
                x, y = (float(value) * (MAX_SCALE - 1 / MAX_SCALE) + 1 / MAX_SCALE for value in row[:2])
                theta.append([[x, 0.0, 0.0], [0.0, y, 0.0]])
            else:
                angle = (float(row[0]) - 0.5) * 2 * MAX_ANGLE
                sine, cosine = math.sin(angle), math.cos(angle)
                theta.append([[cosine, -sine, 0.0], [sine, cosine, 0.0]])
        grid = F.affine_grid(torch.tensor(theta, device=images.device), list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)


def _in_python(transform: Transform) -> Transform:
    return _InPython(transform.augmentation, transform.operations, transform.u)


def _siamese(method: Any, label: int, images: Tensor, iteration: int) -> tuple[Tensor, Tensor]:
    """Real and synthetic images of a class, augmented alike."""
    data: Dataset = method.context.data
    members = data.class_members[label]
    real = data.train[members[torch.randperm(len(members))[: method.batch_real]].to(data.device)].images
    drawn = method.augment.per_class(1, method.context.streams("augment", iteration, label))
    transform = _in_python(drawn)
    pair = [transform(side, torch.zeros(len(side), dtype=torch.long)) for side in (real, images)]
    return pair[0], pair[1]


def _gradients(network: Network, label: int, real: Tensor, images: Tensor) -> list[list[Tensor]]:
    """Gradients of all parameters, ``[1, *shape]`` each: on synthetic images (differentiable), on real ones."""
    parameters = list(network.parameters())
    pair = []
    for side, create_graph in ((images, True), (real, False)):
        loss = F.cross_entropy(network(side), torch.full((len(side),), label, device=side.device))
        found = torch.autograd.grad(loss, parameters, create_graph=create_graph)
        pair.append([gradient[None] for gradient in found])
    return pair


def _random_batch(data: Dataset, size: int, generator: torch.Generator) -> Split:
    return data.train[torch.randint(len(data.train), (size,), generator=generator).to(data.device)]


def _step(optimizer: torch.optim.SGD, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # Into every leaf, the parameters of the networks as well.
    optimizer.step()
