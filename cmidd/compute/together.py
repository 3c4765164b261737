"""Several networks of one structure trained at once, in hardly more kernels than one.

Where the host's launches bind (results/evidence/gpu.md) it is their number that counts, and five networks at once take
twice as many as one. Each is trained as by itself, by its own streams of order, augmentation and start; only sums are
added up in another order, so its numbers are those of :class:`cmidd.compute.training.Training` within rounding.
"""

import copy
import itertools
import logging
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from cmidd.compute import passes
from cmidd.compute.backward import Backward
from cmidd.compute.engine import current
from cmidd.compute.losses import Mix, loss_of, refuse_unlabelled
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.training import Teacher, Training, mixed, train_with
from cmidd.data.augmentation import Transform
from cmidd.data.split import Split
from cmidd.utils.random_streams import Streams
from cmidd.utils.transfer import to_device

log = logging.getLogger(__name__)
# A ResNet18 of 11 million parameters keeps a card busy for 154 of 178 ms by itself (results/evidence/gpu.md).
MOST_PARAMETERS = 8_000_000


class Stacked(nn.Module):
    """Networks of one structure as one: images ``[M, B, C, H, W]`` to logits ``[M, B, classes]``.

    Its parameters and buffers are theirs, stacked, and theirs become views of these: what one is, the others are.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(networks))
        self._structure = [copy.deepcopy(networks[0]).to("meta")]  # In a list, it is no part of this module.
        self._names = list(parameters), list(buffers)
        self.stacked = nn.ParameterList(list(parameters.values()))
        for number, buffer in enumerate(buffers.values()):
            self.register_buffer(f"buffer_{number}", buffer)
        for member, network in enumerate(networks):
            for name, tensor in itertools.chain(network.named_parameters(), network.named_buffers()):
                tensor.data = (parameters if name in parameters else buffers)[name].data[member]

    def train(self, mode: bool = True) -> "Stacked":
        """Have all networks compute as in training, or not."""
        for structure in self._structure:
            structure.train(mode)
        super().train(mode)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[M, B, classes]``."""
        (structure,), (names, others) = self._structure, self._names

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
            logits: Tensor = functional_call(structure, (parameters, buffers), (images,))
            return logits

        parameters, buffers = (
            dict(zip(names, self.stacked, strict=True)),
            dict(zip(others, self.buffers(), strict=True)),
        )
        logits: Tensor = vmap(one)(parameters, buffers, images)
        return logits


class TogetherTraining(Training):
    """As :class:`Training`, of several networks, each by streams of its own."""

    def __init__(
        self, networks: Sequence[nn.Module], recipe: TrainingRecipe, *, teacher: Teacher | None = None
    ) -> None:
        super().__init__(networks, recipe, teacher=teacher, module=Stacked(networks))
        self.backward = Backward(recipe, _sum_of_losses)

    def states(self) -> list[dict[str, list[Tensor]]]:
        (joint,) = super().states()
        return [
            {name: [value if name == "step" else value[member] for value in values] for name, values in joint.items()}
            for member in range(len(self.networks))
        ]

    def go_on(self, done: int, states: Sequence[Mapping[str, Sequence[Tensor]]]) -> None:
        joint: dict[str, Sequence[Tensor]] = {}
        for name, values in states[0].items():
            of_all = zip(*(state[name] for state in states), strict=True)
            joint[name] = values if name == "step" else [torch.stack(each) for each in of_all]
        super().go_on(done, [joint])

    def _pass_over(self, data: Split, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        orders = torch.stack([torch.randperm(len(data), generator=generator) for generator in generators])
        (orders,) = to_device([orders], data.labels.device)
        for chunk in orders.split(self.recipe.batch, dim=1):
            batch = data[chunk.flatten()]
            logits = self._step(batch, generators)
        return logits.flatten(0, 1), batch.labels

    def _step(self, batch: Split, generators: Sequence[torch.Generator]) -> Tensor:
        """One step of each network on its part of a batch, as :func:`cmidd.compute.training.train_step`."""
        recipe, count = self.recipe, len(generators)
        refuse_unlabelled(recipe, batch.soft, is_taught=self.teacher is not None)
        own = [recipe.augment.per_image(len(batch) // count, generator) for generator in generators]
        images = _joined(own)(batch.images)
        images, mix = _mixed_each(images.unflatten(0, (count, -1)), recipe, generators)
        targets = batch.soft
        if self.teacher is not None and recipe.targets == "teacher":
            targets = self.teacher(images.flatten(0, 1))
        labels = batch.labels.unflatten(0, (count, -1))
        targets = None if targets is None else targets.unflatten(0, (count, -1))
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.backward(self.module, images, labels, targets, mix)
        self.optimizer.step()
        return logits


def _joined(transforms: Sequence[Transform]) -> Transform:
    """The transforms of parts of a batch as one of the whole."""
    operations = [torch.cat(each) for each in zip(*(one.operations for one in transforms), strict=True)]
    u = [torch.cat(each) for each in zip(*(one.u for one in transforms), strict=True)]
    return Transform(transforms[0].augmentation, operations, u)


def _mixed_each(
    images: Tensor, recipe: TrainingRecipe, generators: Sequence[torch.Generator]
) -> tuple[Tensor, Mix | None]:
    """Images ``[M, B, C, H, W]``, those of each network mixed by its own generator; who is not keeps all of itself."""
    if recipe.cutmix == recipe.mixup == 0:
        return images, None
    each = [mixed(own, recipe, generator) for own, generator in zip(images, generators, strict=True)]
    mixes = [mix for _, mix in each]
    if all(mix is None for mix in mixes):
        return images, None
    itself = torch.arange(images.shape[1], device=images.device)
    partners = torch.stack([itself if mix is None else mix.partner for mix in mixes])
    shares = torch.tensor([1.0 if mix is None else mix.share for mix in mixes], dtype=torch.float64)
    (shares,) = to_device([shares.to(images.dtype)], images.device)
    return torch.stack([own for own, _ in each]), Mix(partners, shares)


def _sum_of_losses(
    recipe: TrainingRecipe, logits: Tensor, labels: Tensor, targets: Tensor | None, mix: Mix | None
) -> Tensor:
    """The losses of all networks, ``[M, B, ...]`` each, of which each has its own parameters."""
    if mix is None:  # Each is a mean over as many images, so their sum is one mean, in fewer kernels.
        soft = None if targets is None else targets.flatten(0, 1)
        return len(logits) * loss_of(recipe, logits.flatten(0, 1), labels.flatten(), soft)

    def one(logits: Tensor, labels: Tensor, targets: Tensor | None, partner: Tensor, share: Tensor) -> Tensor:
        return loss_of(recipe, logits, labels, targets, Mix(partner, share))

    in_dims = (0, 0, None if targets is None else 0, 0, 0)
    losses: Tensor = vmap(one, in_dims)(logits, labels, targets, mix.partner, torch.as_tensor(mix.share))
    return losses.sum()


def new_training(networks: Sequence[nn.Module], recipe: TrainingRecipe, *, teacher: Teacher | None = None) -> Training:
    """The training of one network, or of several at once."""
    kind = Training if len(networks) == 1 else TogetherTraining
    return kind(networks, recipe, teacher=teacher)


def train_together(
    networks: Sequence[nn.Module],
    data: Split,
    recipe: TrainingRecipe,
    streams: Sequence[Streams],
    *,
    what: str | None,
    optimizer: torch.optim.Optimizer | None = None,
    teacher: Teacher | None = None,
    after: Callable[[int], None] | None = None,
) -> torch.optim.Optimizer:
    """As :func:`cmidd.compute.training.train`, of one network or several, each by streams of its own."""
    training = new_training(networks, recipe, teacher=teacher)
    return train_with(training, data, streams, what=what, optimizer=optimizer, after=after)


def how_many_at_once(blank: nn.Module, recipe: TrainingRecipe, data: Split) -> int:
    """How many networks like ``blank`` (without numbers) are trained at once on ``data``, as the engine in force says.

    By itself (``auto``) as many as have together the images of one pass (:func:`cmidd.compute.passes.chunk_size`) and
    :data:`MOST_PARAMETERS`; larger networks and batches keep a card busy without. One where networks of this kind
    cannot be stacked: those that draw random numbers, or decide by values.
    """
    wanted = current().at_once
    if wanted == 1:
        return 1
    if not _stackable(blank, data.shape[1:]):
        log.info("engine.at_once=%s: networks of this kind cannot be computed at once, they are trained singly", wanted)
        return 1
    if wanted != "auto":
        return wanted
    parameters = sum(math.prod(parameter.shape) for parameter in blank.parameters())
    images = passes.chunk_size(data) // min(recipe.batch, len(data))
    return max(1, min(images, MOST_PARAMETERS // parameters))


def _stackable(blank: nn.Module, shape: Sequence[int]) -> bool:
    """Whether several such networks can be computed as one: tried without numbers, which costs nothing."""
    networks = [copy.deepcopy(blank).to("meta") for _ in range(2)]
    try:
        Stacked(networks).train()(torch.empty(2, 2, *shape, device="meta"))
    except (RuntimeError, NotImplementedError, TypeError, ValueError):
        return False
    return True
