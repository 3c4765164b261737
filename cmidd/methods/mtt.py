"""MTT, matching training trajectories (Cazenavette et al., CVPR 2022; methods.md section 1.3)."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from cmidd.buffers.experts import Experts, ExpertSettings
from cmidd.compute import passes
from cmidd.compute.graphs import Graphed
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.data.augmentation import Augmentation, Plan, placed
from cmidd.networks import Network
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Count, Fraction, NonNegative, Positive
from cmidd.utils.transfer import to_device


class StudentPasses:
    """A network at whatever parameters: the passes of :mod:`cmidd.compute.passes` that its steps take, replayed as CUDA
    graphs where the engine says so.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._gradient = Graphed(lambda *at: (passes.gradient_at(network, *at),))
        self._along = Graphed(functools.partial(passes.along, network))

    def gradient_at(self, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """:func:`cmidd.compute.passes.gradient_at`; holds until the next call."""
        return self._gradient(theta, images, labels)[0]

    def along(self, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """:func:`cmidd.compute.passes.along`; holds until the next call."""
        return self._along(theta, direction, images, labels)


@dataclass(frozen=True)
class StudentStep:
    """One step of a student: on the images ``chunk`` (indices) with their ``labels``, augmented by ``transform``."""

    passes: StudentPasses
    chunk: Tensor
    labels: Tensor
    transform: Callable[[Tensor], Tensor] = lambda images: images

    def batch(self, images: Tensor) -> Tensor:
        """The step's images, of all synthetic ones ``[N, C, H, W]``."""
        return self.transform(images[self.chunk])


class MTT(Method):
    """A student that takes ``syn_steps`` steps on the synthetic set should land where an expert lands after
    ``expert_epochs`` epochs on the real data. Images and the step size ``syn_lr`` are learned. What it hands on as
    the matching network is the student where it starts; there is no real batch.
    """

    gives = frozenset({"network"})
    unsteady = ("lr_teacher", "lr_lr", "lr_img")

    def __init__(
        self,
        context: Context,
        *,
        lr_img: Positive,
        momentum: Fraction,
        syn_steps: Count,
        expert_epochs: Count,
        max_start_epoch: Count,
        lr_lr: NonNegative,
        lr_teacher: Positive,
        batch_syn: Count | None,
        augment: Augmentation,
        experts: ExpertSettings,
    ) -> None:
        self.context, self.augment, self.syn_steps = context, augment, syn_steps
        self.lr_img, self.lr_lr, self.momentum = lr_img, lr_lr, momentum
        self.expert_epochs, self.max_start_epoch = expert_epochs, max_start_epoch
        self.batch_syn = batch_syn or len(context.synthetic.leaf)
        self.student = context.new_network(context.streams("student"))
        self.passes = StudentPasses(self.student)
        self.experts = Experts(context, experts.reaching(epochs_read(max_start_epoch, expert_epochs)))
        context.synthetic.syn_lr = torch.tensor(lr_teacher, device=context.data.device)

    @classmethod
    def refuse(cls, settings: Mapping[str, Any], network: Network) -> None:
        if any(True for _ in network.buffers()):
            raise SettingError("network.norm=batchnorm: MTT cannot unroll running statistics; use instancenorm")
        needed = epochs_read(settings["max_start_epoch"], settings["expert_epochs"])
        epochs = settings["experts"].training.epochs
        if epochs is not None and epochs < needed:
            raise SettingError(
                f"method.experts.training.epochs={epochs}: shorter than the trajectories asked for; set it to at least "
                f"{needed}, or to null"
            )

    @classmethod
    def images_per_iteration(cls, num_classes: int, ipc: int, settings: Mapping[str, Any]) -> int:
        return settings["syn_steps"] * (settings["batch_syn"] or num_classes * ipc)

    def param_groups(self) -> list[dict[str, Any]]:
        synthetic = self.context.synthetic
        return [
            {"params": [synthetic.leaf], "lr": self.lr_img, "momentum": self.momentum},
            {"params": [synthetic.syn_lr], "lr": self.lr_lr, "momentum": self.momentum},
        ]

    def matches(self, iteration: int) -> Iterator[Match]:
        synthetic, device = self.context.synthetic, self.context.data.device
        assert synthetic.syn_lr is not None
        start, target = to_device(self._segment(iteration), device)
        steps = self._student_steps(iteration)
        loss = trajectory_distance(synthetic.images, synthetic.syn_lr, start, target, steps)
        vector_to_parameters(start, self.student.parameters())
        yield Match(loss, synthetic.images, synthetic.labels, self.student)

    def _segment(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Start and target parameters; experts come in a shuffled cycle, without replacement."""
        cycle, position = divmod(iteration, self.experts.count)
        order = torch.randperm(self.experts.count, generator=self.context.streams("experts", cycle))
        generator = self.context.streams("start", iteration)
        start = int(torch.randint(self.max_start_epoch, (1,), generator=generator))
        return self.experts.segment(int(order[position]), start, start + self.expert_epochs)

    def _student_steps(self, iteration: int) -> list[StudentStep]:
        generator, labels = self.context.streams("augment", iteration), self.context.synthetic.labels
        plans: list[Plan] = []
        drawn: list[Tensor] = []
        chunks: list[Tensor] = []
        for _ in range(self.syn_steps):
            if not chunks:
                chunks = list(torch.randperm(len(labels), generator=generator).split(self.batch_syn))
            drawn.append(chunks.pop())
            plans.append(self.augment.per_image(len(drawn[-1]), generator).plan())
        plans, drawn = placed(plans, labels.device), to_device(drawn, labels.device)
        return [StudentStep(self.passes, chunk, labels[chunk], plan) for chunk, plan in zip(drawn, plans, strict=True)]


def epochs_read(max_start_epoch: int, expert_epochs: int) -> int:
    """How many epochs of an expert are read: it may start at the last start epoch."""
    return max_start_epoch - 1 + expert_epochs


def trajectory_distance(
    images: Tensor, syn_lr: Tensor, start: Tensor, target: Tensor, steps: Sequence[StudentStep]
) -> Tensor:
    """``||theta_T - target||^2 / ||start - target||^2`` after plain SGD steps of size ``syn_lr`` from ``start``."""
    final: Tensor = Unroll.apply(images, syn_lr, start, steps)  # type: ignore[no-untyped-call]
    return (final - target).square().sum() / (start - target).square().sum()


class Unroll(torch.autograd.Function):
    """The student's last parameters, differentiable in images and step size by the adjoint method.

    Forward keeps theta_0 .. theta_{T-1} but no graph. Backward rebuilds one second-order step at a time,
    from the last to the first, with ``g = d loss / d theta`` and the adjoint ``a = dL / d theta``:
    ``d images -= lr d<g, a>/d images``, ``d lr -= <g, a>``, ``a <- a - lr d<g, a>/d theta``.
    Exact, and the memory grows with the steps only by the parameters kept.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, syn_lr: Tensor, start: Tensor, steps: Sequence[StudentStep]) -> Tensor:
        thetas, theta = [], start
        for step in steps:
            thetas.append(theta)
            theta = theta - syn_lr * step.passes.gradient_at(theta, step.batch(images.detach()), step.labels)
        ctx.steps, ctx.thetas = steps, thetas
        ctx.save_for_backward(images, syn_lr)
        return theta.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, Tensor, None, None]:
        images, syn_lr = ctx.saved_tensors
        images = images.detach().requires_grad_()
        adjoint = grad_outputs[0]
        grad_images, grad_lr = torch.zeros_like(images), torch.zeros_like(syn_lr)
        for step, theta in zip(reversed(ctx.steps), reversed(ctx.thetas), strict=True):
            with torch.enable_grad():
                batch = step.batch(images)
            derivative, d_theta, d_batch = step.passes.along(theta, adjoint, batch, step.labels)
            grad_lr -= derivative
            grad_images -= syn_lr * torch.autograd.grad(batch, images, d_batch)[0]
            adjoint = adjoint - syn_lr * d_theta
        return grad_images, grad_lr, None, None
