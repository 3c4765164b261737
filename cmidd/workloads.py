"""The steps that ``bench.py`` measures, on random images: of a method, the evaluation, the experts, the CMI term."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmidd import plain
from cmidd.balance import Balance, Ratio
from cmidd.data import Dataset
from cmidd.distill import Regularizer, distillation_step
from cmidd.networks import blank_network
from cmidd.objectives import OBJECTIVES, Context
from cmidd.objectives.base import Match, Objective
from cmidd.plugins import make_regularizers
from cmidd.preprocessing import Normalize
from cmidd.records import strength
from cmidd.regularizers.cmi import CMI
from cmidd.settings import Settings
from cmidd.sources import Split
from cmidd.streams import Streams
from cmidd.synthetic import SyntheticSet
from cmidd.teachers import TeacherPool, TeacherPools
from cmidd.training import TrainingRecipe, train_step

SHAPES = {
    "cifar10": ((3, 32, 32), 10),
    "cifar100": ((3, 32, 32), 100),
    "svhn": ((3, 32, 32), 10),
    "fashion_mnist": ((1, 28, 28), 10),
    "mnist": ((1, 28, 28), 10),
}
# What is no method is composed as one: whose images, recipes and networks it takes.
TASKS = {**{name: name for name in OBJECTIVES}, "evaluation": "dsa", "experts": "mtt", "cmi": "dm"}


@dataclass(frozen=True)
class Workload:
    """A task with the settings and the method's arguments that it has in ``distill.py``, on random images.

    ``image_size``: height and width; None: those of the data set.
    """

    task: str
    settings: Settings
    arguments: dict[str, Any]
    image_size: int | None
    images_per_class: int
    device: torch.device

    @property
    def label(self) -> str:
        settings = self.settings
        return f"{self.task} {settings.dataset['name']} ipc={settings.ipc} cmi={strength(vars(settings.cmi))}"

    def check(self) -> None:
        """Refuse what the method cannot do, before anything is measured.

        Raises:
            SettingError: as ``distill.py`` would.
        """
        if self.task in OBJECTIVES:
            shape, num_classes = self._shape()
            network = blank_network(image_shape=shape, num_classes=num_classes, **self.settings.network)
            OBJECTIVES[self.task].refuse(self.arguments, network)

    def context(self) -> Context:
        """The world of a run, on standard normal images."""
        settings = self.settings
        (channels, height, width), num_classes = self._shape()
        labels = torch.arange(num_classes).repeat_interleave(self.images_per_class)
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(len(labels), channels, height, width, generator=generator)
        split = Split(images.to(self.device), labels.to(self.device))
        data = Dataset(
            name=settings.dataset["name"],
            train=split,
            test=split,
            classes=tuple(map(str, range(num_classes))),
            preprocessing=Normalize(torch.zeros(channels), torch.ones(channels)),
        )
        streams = Streams(settings.seed)
        synthetic = SyntheticSet.from_noise(data, settings.ipc, streams("init"), settings.formation)
        key = {"random": [self.images_per_class, height, width]}
        return Context(data, synthetic, streams, Path(settings.buffers_root), settings.network, key)

    def _shape(self) -> tuple[tuple[int, int, int], int]:
        """Shape of an image, and how many classes."""
        (channels, height, width), num_classes = SHAPES[self.settings.dataset["name"]]
        return (channels, self.image_size or height, self.image_size or width), num_classes

    def steps(self, context: Context, in_plain: bool) -> Iterator[None]:
        """An endless generator that does one step between two of its values."""
        settings, arguments = self.settings, self.arguments
        pool, teachers = None, TeacherPools(context, settings.cmi)
        if settings.cmi.adds or self.task == "cmi":
            pool = teachers()
        if self.task == "experts":
            return training_steps(context, context.data.train, arguments["experts"].training, 1, in_plain)
        if self.task == "evaluation":
            return training_steps(context, context.synthetic.decode(), settings.evaluation.training, 5, in_plain)
        term: plain.Term = _no_term
        if pool is not None and in_plain:
            term = plain.cmi_from_file(pool.networks[0], context.buffers / "plain_teacher.safetensors")
        if self.task == "cmi":
            return cmi_steps(context, term if in_plain else None, pool)
        objective = OBJECTIVES[settings.method["name"]](context, **arguments)
        if in_plain:
            return plain.PLAIN[settings.method["name"]](objective, term)
        return method_steps(context, objective, make_regularizers(settings, context, teachers))


def method_steps(
    context: Context, objective: Objective, regularizers: list[tuple[float | Ratio, Regularizer]]
) -> Iterator[None]:
    """A step is an optimiser step, with the work on networks before it."""
    optimizer = objective.optimizer()
    balance = Balance({regularizer.name: weight for weight, regularizer in regularizers}, context.synthetic.leaf)
    for iteration in itertools.count():
        for match in objective.matches(iteration):
            distillation_step(match, optimizer, regularizers, context.streams, iteration, balance, 0)
            yield


def training_steps(
    context: Context, data: Split, recipe: TrainingRecipe, networks: int, in_plain: bool
) -> Iterator[None]:
    """A step is one pass of every network over ``data``."""
    trained = [context.new_network(context.streams("network", number)) for number in range(networks)]
    optimizers = [recipe.optimizer(network) for network in trained]
    step = plain.training_step if in_plain else train_step
    for epoch in itertools.count():
        for network, optimizer in zip(trained, optimizers, strict=True):
            generator = context.streams("train", epoch)
            order = torch.randperm(len(data), generator=generator).to(data.labels.device)
            for chunk in order.split(recipe.batch):
                step(network, optimizer, data[chunk], recipe, generator)
        yield


def cmi_steps(context: Context, term: plain.Term | None, pool: TeacherPool | None) -> Iterator[None]:
    """A step is the value of CMI on the whole set and its gradient in the images."""
    assert pool is not None
    decoded, regularizer = context.synthetic.decode(), CMI(pool)
    for number in itertools.count():
        images = decoded.images.clone().requires_grad_()
        if term is None:
            match = Match(torch.zeros(()), images, decoded.labels)
            value = regularizer(match, context.streams("cmi", number))
        else:
            value = term(images, decoded.labels)
        value.backward()
        yield


def _no_term(images: Tensor, labels: Tensor) -> Tensor:
    return images.new_zeros(())
