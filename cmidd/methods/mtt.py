"""MTT, matching training trajectories (Cazenavette et al., CVPR 2022)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import vector_to_parameters

from cmidd.buffers.experts import Experts, ExpertSettings
from cmidd.compute import passes
from cmidd.compute.graphs import Graphed
from cmidd.compute.passes import Along
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.data.augmentation import Augmentation, Plan, placed
from cmidd.networks import Network
from cmidd.utils.checking import keywords
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
        self._along = Graphed(lambda *at: tuple(each for each in passes.along(network, *at) if each is not None))

    def gradient_at(self, theta: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """:func:`cmidd.compute.passes.gradient_at`; holds until the next call."""
        return self._gradient(theta, images, labels)[0]

    def along(self, theta: Tensor, direction: Tensor, images: Tensor, labels: Tensor) -> Along:
        """:func:`cmidd.compute.passes.along`; holds until the next call."""
        derivative, of_theta, of_images, *of_labels = self._along(theta, direction, images, labels)
        return Along(derivative, of_theta, of_images, of_labels[0] if of_labels else None)


@dataclass(frozen=True)
class StudentStep:
    """One step of a student: on the images ``chunk`` (indices) with their ``labels``, augmented by ``transform``.

    ``labels`` are hard, ``[B]``; where the whole set has soft ones they are taken from those.
    """

    passes: StudentPasses
    chunk: Tensor
    labels: Tensor
    transform: Callable[[Tensor], Tensor] = lambda images: images

    def batch(self, images: Tensor) -> Tensor:
        """The step's images, of all synthetic ones ``[N, C, H, W]``."""
        return self.transform(images[self.chunk])

    def truth(self, soft: Tensor | None) -> Tensor:
        """The step's labels: of the soft ones of all images, logits ``[N, C]``, where there are any."""
        return self.labels if soft is None else soft[self.chunk]


class MTT(Method):
    """A student that takes ``syn_steps`` steps on the synthetic set should land where an expert lands after
    ``expert_epochs`` epochs on the real data. Images and the step size ``syn_lr`` are learned. What it hands on as
    the matching network is the student where it starts; there is no real batch.
    """

    gives = frozenset({"network"})
    experts = "experts"
    unsteady: ClassVar[tuple[str, ...]] = ("lr_teacher", "lr_lr", "lr_img")

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
        read = {"experts": experts, "max_start_epoch": max_start_epoch, "expert_epochs": expert_epochs}
        self.trained = Experts(context, self.experts_read(read))
        context.synthetic.syn_lr = torch.tensor(lr_teacher, device=context.data.device)

    @classmethod
    def refuse(cls, settings: Mapping[str, Any], network: Network) -> None:
        if buffers := [name for name, _ in network.named_buffers()]:
            name, known = cls.__name__, "norm" in keywords(type(network))
            raise SettingError(
                f"network.norm=batchnorm: {name} cannot unroll running statistics; use instancenorm"
                if known
                else f"network: {name} cannot unroll running statistics or other buffers, and "
                f"{type(network).__name__} has {buffers[0]}; use a network without"
            )
        needed = epochs_read(settings["max_start_epoch"], settings["expert_epochs"])
        epochs = settings["experts"].training.epochs
        if epochs is not None and epochs < needed:
            raise SettingError(
                f"method.experts.training.epochs={epochs}: shorter than the trajectories asked for; set it to at least "
                f"{needed}, or to null"
            )

    @classmethod
    def experts_read(cls, settings: Mapping[str, Any]) -> ExpertSettings:
        experts: ExpertSettings = settings["experts"]
        return experts.reaching(epochs_read(settings["max_start_epoch"], settings["expert_epochs"]))

    @classmethod
    def shortest(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**settings, "experts": replace(settings["experts"], count=1), "max_start_epoch": 1}

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
        soft = synthetic.all_soft_labels
        loss = trajectory_distance(
            synthetic.images, synthetic.syn_lr, start, target, steps, None if soft is None else soft.values
        )
        vector_to_parameters(start, self.student.parameters())
        yield Match(loss, synthetic.images, synthetic.labels, self.student, declined=self._declines(loss))

    def _declines(self, loss: Tensor) -> bool:
        """Whether the set is not to step."""
        return False

    def _start_epochs(self, iteration: int) -> tuple[int, int]:
        """The first epoch that an expert may start from, and the one after the last."""
        return 0, self.max_start_epoch

    def _segment(self, iteration: int) -> tuple[Tensor, Tensor]:
        """Start and target parameters; experts come in a shuffled cycle, without replacement."""
        cycle, position = divmod(iteration, self.trained.count)
        order = torch.randperm(self.trained.count, generator=self.context.streams("experts", cycle))
        generator = self.context.streams("start", iteration)
        start = int(torch.randint(*self._start_epochs(iteration), (1,), generator=generator))
        return self.trained.segment(int(order[position]), start, start + self.expert_epochs)

    def _student_steps(self, iteration: int) -> list[StudentStep]:
        generator, synthetic = self.context.streams("augment", iteration), self.context.synthetic
        labels, like = synthetic.labels, synthetic.leaf.new_empty(0, *self.context.data.image_shape)
        plans: list[Plan] = []
        drawn: list[Tensor] = []
        chunks: list[Tensor] = []
        for _ in range(self.syn_steps):
            if not chunks:
                chunks = list(torch.randperm(len(labels), generator=generator).split(self.batch_syn))
            drawn.append(chunks.pop())
            plans.append(self.augment.per_image(len(drawn[-1]), generator).plan(like))
        plans, drawn = placed(plans, labels.device), to_device(drawn, labels.device)
        return [StudentStep(self.passes, chunk, labels[chunk], plan) for chunk, plan in zip(drawn, plans, strict=True)]


def epochs_read(max_start_epoch: int, expert_epochs: int) -> int:
    """How many epochs of an expert are read: it may start at the last start epoch."""
    return max_start_epoch - 1 + expert_epochs


def trajectory_distance(
    images: Tensor,
    syn_lr: Tensor,
    start: Tensor,
    target: Tensor,
    steps: Sequence[StudentStep],
    soft: Tensor | None = None,
) -> Tensor:
    """``||theta_T - target||^2 / ||start - target||^2`` after plain SGD steps of size ``syn_lr`` from ``start``.

    Args:
        soft: labels ``[N, C]`` of the images, as logits, in place of the steps' hard ones.
    """
    final: Tensor = Unroll.apply(images, syn_lr, soft, start, steps)  # type: ignore[no-untyped-call]
    return (final - target).square().sum() / (start - target).square().sum()


class Unroll(torch.autograd.Function):
    """The student's last parameters, differentiable in images, step size and soft labels by the adjoint method.

    Forward keeps theta_0 .. theta_{T-1} but no graph. Backward rebuilds one second-order step at a time,
    from the last to the first, with ``g = d loss / d theta`` and the adjoint ``a = dL / d theta``:
    ``d images -= lr d<g, a>/d images`` (and so the labels), ``d lr -= <g, a>``, ``a <- a - lr d<g, a>/d theta``.
    Exact, and the memory grows with the steps only by the parameters kept.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, syn_lr: Tensor, soft: Tensor | None, start: Tensor, steps: Sequence[StudentStep]
    ) -> Tensor:
        thetas, theta = [], start
        for step in steps:
            thetas.append(theta)
            batch, truth = step.batch(images.detach()), step.truth(soft)
            theta = theta - syn_lr * step.passes.gradient_at(theta, batch, truth)
        ctx.steps, ctx.thetas = steps, thetas
        ctx.save_for_backward(images, syn_lr, soft)
        return theta.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        images, syn_lr, soft = ctx.saved_tensors
        images = images.detach().requires_grad_()
        adjoint = grad_outputs[0]
        grad_images, grad_lr = torch.zeros_like(images), torch.zeros_like(syn_lr)
        grad_soft = None if soft is None else torch.zeros_like(soft)
        for step, theta in zip(reversed(ctx.steps), reversed(ctx.thetas), strict=True):
            with torch.enable_grad():
                batch = step.batch(images)
            found = step.passes.along(theta, adjoint, batch, step.truth(soft))
            grad_lr -= found.derivative
            grad_images -= syn_lr * torch.autograd.grad(batch, images, found.images)[0]
            if grad_soft is not None and found.labels is not None:
                grad_soft.index_add_(0, step.chunk, -syn_lr * found.labels)
            adjoint = adjoint - syn_lr * found.theta
        return grad_images, grad_lr, grad_soft, None, None
