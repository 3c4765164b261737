"""The steps that ``bench.py`` measures, on random images: of a method, the evaluation, the experts, the CMI term."""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cmidd.compute.devices import synchronise
from cmidd.compute.recipe import TrainingRecipe
from cmidd.compute.together import how_many_at_once, new_training
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.core.teachers import Teachers
from cmidd.data.dataset import Dataset
from cmidd.data.preprocessing import Normalize
from cmidd.data.published import PUBLISHED
from cmidd.data.split import Split
from cmidd.loop.balance import Balance, Ratio
from cmidd.loop.distill import Weighted, distillation_step
from cmidd.methods import METHODS
from cmidd.networks import blank_network
from cmidd.regularizers.cmi import CMI
from cmidd.runs.build import make_regularizers, make_teachers
from cmidd.runs.identity import strength
from cmidd.runs.settings import Settings
from cmidd.samplers.random import RandomSampler
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.checking import choose
from cmidd.utils.random_streams import Streams

ENDLESS = 100_000  # epochs
# What is no method is composed as one: whose images, recipes and networks it takes.
OTHERS = {"evaluation": "dsa", "experts": "mtt", "flat experts": "datm", "cmi": "dm"}


def method_of(task: str) -> str:
    """The method that a task is composed as."""
    return OTHERS.get(task, task)


@dataclass(frozen=True)
class Workload:
    """A task with the settings that it has in ``distill.py``, on random images.

    ``image_size``: height and width; None: those of the data set.
    """

    task: str
    settings: Settings
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
        if self.task in METHODS:
            shape, num_classes = self._shape()
            network = blank_network(image_shape=shape, num_classes=num_classes, **self.settings.network)
            METHODS[self.task].refuse(self.settings.arguments, network)

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
        sampler = RandomSampler(data)
        return Context(data, synthetic, streams, Path(settings.buffers_root), settings.network, key, sampler)

    def _shape(self) -> tuple[tuple[int, int, int], int]:
        """Shape of an image, and how many classes."""
        known = choose(PUBLISHED, self.settings.dataset["name"], "dataset")
        channels, height, width = known.shape
        return (channels, self.image_size or height, self.image_size or width), len(known.classes)

    def steps(self, context: Context) -> tuple[Iterator[None], int]:
        """An endless generator that does one step between two of its values, and how many steps an iteration has."""
        settings, arguments = self.settings, self.settings.arguments
        teachers = make_teachers(settings, context)
        if self.task.endswith("experts"):
            return training_steps(context, context.data.train, arguments["experts"].training, 1), 1
        if self.task == "evaluation":
            return training_steps(context, context.synthetic.decode(), settings.evaluation.training, 5), 1
        if self.task == "cmi":
            return cmi_steps(context, teachers), 1
        method = METHODS[settings.method["name"]](context, **arguments)
        return method_steps(context, method, make_regularizers(settings, context, teachers)), method.main_steps


def method_steps(context: Context, method: Method, regularizers: Weighted) -> Iterator[None]:
    """A step is an optimiser step, with the work on networks before it and the plain steps after it; nothing is kept.

    A weight that a run would measure is 1 here: how long a step takes does not depend on it.
    """
    optimizer = method.optimizer()
    weights = {term.name: 1.0 if isinstance(weight, Ratio) else weight for weight, term in regularizers}
    balance = Balance(weights, context.synthetic.leaf)
    for iteration in itertools.count():
        for number, match in enumerate(method.matches(iteration), 1):
            distillation_step(match, optimizer, regularizers, context.streams, iteration, balance, 0)
            if number % (method.steps_per_iteration // method.main_steps) == 0:
                yield


def training_steps(context: Context, data: Split, recipe: TrainingRecipe, networks: int) -> Iterator[None]:
    """A step is one pass of every network over ``data``, as many networks at once as in a run."""
    at_once = how_many_at_once(context.blank_network(), recipe, data)
    trained = [context.new_network(context.streams("network", number)) for number in range(networks)]
    endless = replace(recipe, epochs=ENDLESS)
    going = [
        new_training(part, endless).epochs(data, [context.streams] * len(part), what=None)
        for part in (trained[first : first + at_once] for first in range(0, networks, at_once))
    ]
    while True:
        for training in going:
            next(training)
        yield


def cmi_steps(context: Context, teachers: Teachers) -> Iterator[None]:
    """A step is the value of CMI on the whole set and its gradient in the images."""
    decoded, regularizer = context.synthetic.decode(), CMI(context, teachers)
    for number in itertools.count():
        images = decoded.images.clone().requires_grad_()
        match = Match(torch.zeros(()), images, decoded.labels)
        regularizer(match, context.streams("cmi", number)).backward()
        yield


def timed_step(work: Iterator[None], device: torch.device) -> float:
    """Seconds of the next step of ``work``."""
    began = time.perf_counter()
    next(work)
    synchronise(device)
    return time.perf_counter() - began
