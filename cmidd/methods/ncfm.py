"""NCFM, matching neural characteristic functions (Wang et al., CVPR 2025)."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import vector_to_parameters
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cmidd.buffers.experts import Experts, ExpertSettings
from cmidd.compute.characteristic import characteristic_discrepancy
from cmidd.compute.class_steps import ClassAdamW, ClassSGD, ClassSteps
from cmidd.compute.embeddings import class_means, embed_real
from cmidd.compute.frequency_network import ROWS, FrequencyNetwork
from cmidd.compute.optimizer_state import remembered, restore
from cmidd.compute.passes import embed_in_chunks, logits_in_chunks
from cmidd.core.context import Context
from cmidd.core.match import Match
from cmidd.core.method import Method
from cmidd.data.augmentation import Augmentation
from cmidd.data.known_labels import class_members
from cmidd.data.split import Split
from cmidd.utils.setting_types import Count, Fraction, NonNegative, Positive
from cmidd.utils.transfer import normal_numbers, to_device

PLATEAU = {"factor": 0.5, "threshold": 1e-4}


class NCFM(Method):
    """Features of real and synthetic images of a class should have the same characteristic function, in networks
    between their random start and their trained end; and the trained networks should classify the synthetic images.

    An iteration has two optimiser steps, each the exact joint form of one per class
    (:mod:`cmidd.compute.class_steps`): the match, and the calibration, to which no regulariser is added.

    Args:
        optimizer: of the images; ``momentum`` is used by ``sgd`` alone, ``weight_decay`` by ``adamw`` alone.
        patience: iterations without a smaller loss after which the step size is halved.
        num_freqs: frequencies that are drawn for each class and step.
        frequencies: ``gaussian``, which is what the published code computes, or ``learned``: those of a network that is
            trained to find where the two differ (the paper's min-max; in the published code its two backward passes
            cancel, and it stays as it was drawn), with AdamW at ``lr_frequencies``.
        amplitude, phase: weights of the two terms (alpha and beta).
        factor: of the match.
        calibration: of the calibration; 0: none.
        models: the networks, trained on the real data, of which the start and the end are kept.
    """

    experts: ClassVar[str] = "models"
    decodes = True
    unsteady = ("models.training.lr", "lr_img")

    def __init__(
        self,
        context: Context,
        *,
        optimizer: Literal["adamw", "sgd"],
        lr_img: Positive,
        momentum: Fraction,
        weight_decay: NonNegative,
        patience: Count,
        batch_real: Count,
        num_freqs: Count,
        frequencies: Literal["gaussian", "learned"],
        lr_frequencies: Positive,
        amplitude: NonNegative,
        phase: NonNegative,
        factor: Positive,
        calibration: NonNegative,
        augment: Augmentation,
        models: ExpertSettings,
    ) -> None:
        self.context, self.augment, self.batch_real = context, augment, batch_real
        self.kind, self.lr_img, self.momentum, self.weight_decay = optimizer, lr_img, momentum, weight_decay
        self.num_freqs, self.amplitude, self.phase = num_freqs, amplitude, phase
        self.factor, self.calibration = factor, calibration
        self.plain_steps = 1 if calibration else 0
        self.steps_per_iteration = 1 + self.plain_steps
        self.trained = Experts(context, self.experts_read({"models": models}))
        self.network = context.new_network(context.streams("shape")).requires_grad_(False)
        # Torch's scheduler counts on an optimiser of its own: rollbacks halve the step size as well.
        self._counted = torch.optim.SGD([torch.zeros(())], lr=1.0)
        self._plateau = ReduceLROnPlateau(self._counted, patience=patience, **PLATEAU)  # type: ignore[arg-type]
        self._sampling = None if frequencies == "gaussian" else _Sampling(context, lr_frequencies)
        self._steps: ClassSteps | None = None

    @classmethod
    def experts_read(cls, settings: Mapping[str, Any]) -> ExpertSettings:
        models: ExpertSettings = settings["models"]
        return models.keeping([0, len(models.training.learning_rates)], cls.experts)

    @classmethod
    def shortest(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        models = settings["models"]
        return {**settings, "models": replace(models, count=1, training=replace(models.training, epochs=1))}

    @classmethod
    def images_per_iteration(cls, num_classes: int, ipc: int, settings: Mapping[str, Any]) -> int:
        return super().images_per_iteration(num_classes, 2 * ipc, settings)

    def param_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.context.synthetic.leaf]}]

    def optimizer(self) -> ClassSteps:
        groups, labels = self.param_groups(), self.context.synthetic.leaf_labels
        self.context.synthetic.leaf.requires_grad_()
        if self.kind == "sgd":
            self._steps = ClassSGD(groups, labels, lr=self.lr_img, momentum=self.momentum)
        else:
            self._steps = ClassAdamW(groups, labels, lr=self.lr_img, weight_decay=self.weight_decay)
        return self._steps

    def matches(self, iteration: int) -> Iterator[Match]:
        context, synthetic, streams = self.context, self.context.synthetic, self.context.streams
        num_classes, steps = context.data.num_classes, self._steps
        assert steps is not None
        steps.scale = self._counted.param_groups[0]["lr"]
        initial, trained = self._models_at(iteration)
        vector_to_parameters(torch.lerp(trained, initial, self._blend(iteration)), self.network.parameters())
        synthetic.clamp_pixels()
        steps.prepare()
        decoded = synthetic.training_images()
        real = context.real_batch(self.batch_real, self.network, iteration)
        real, augmented = self.augment.siamese(real, decoded, num_classes, streams("augment", iteration))
        embedded = embed_real(self.network, real.images), embed_in_chunks(self.network, augmented.images)
        labels = real.labels, augmented.labels
        loss = self._discrepancy(embedded, labels, iteration)
        yield Match(loss, decoded.images, decoded.labels, self.network, real, augmented, embedded, num_classes)
        reached = loss.detach().sum()
        if self._sampling is not None:
            fixed = embedded[0], embedded[1].detach()
            self._sampling.ascend(self._discrepancy(fixed, labels, iteration).sum())
        if self.calibration:
            vector_to_parameters(trained, self.network.parameters())
            steps.prepare()
            decoded = synthetic.training_images()
            transform = self.augment.per_class(num_classes, streams("calibrate", iteration))
            seen = Split(transform(decoded.images, decoded.labels), decoded.labels)
            loss = self.calibration * self._errors(seen, num_classes)
            yield Match(loss, decoded.images, decoded.labels, self.network, beside="calibration")
            reached += loss.detach().sum()
        self._plateau.step(float(reached) / num_classes)

    def _models_at(self, iteration: int) -> tuple[Tensor, Tensor]:
        """The parameters ``[P]`` of a random network where its training began and where it ended."""
        generator = self.context.streams("network", iteration)
        number = int(torch.randint(self.trained.count, (1,), generator=generator))
        rows = self.trained.segment(number, 0, self.trained.length - 1)
        initial, trained = to_device(rows, self.context.data.device)
        return initial, trained

    def _blend(self, iteration: int) -> float:
        """The share of the start in the network of an iteration."""
        return float(torch.rand((), generator=self.context.streams("blend", iteration)))

    def _discrepancy(self, embedded: tuple[Tensor, Tensor], labels: tuple[Tensor, Tensor], iteration: int) -> Tensor:
        """The loss of each class ``[C]``, of normalised features."""
        sides, num_classes = [F.normalize(features, dim=1) for features in embedded], self.context.data.num_classes
        members = [class_members(own, num_classes) for own in labels]
        losses = []
        for label in range(num_classes):
            real, synthetic = (side[own[label]] for side, own in zip(sides, members, strict=True))
            frequencies = self._frequencies(real, iteration, label)
            losses.append(characteristic_discrepancy(real, synthetic, frequencies, self.amplitude, self.phase))
        return self.factor * torch.stack(losses)

    def _frequencies(self, like: Tensor, iteration: int, label: int) -> Tensor:
        generator = self.context.streams("frequencies", iteration, label)
        if self._sampling is not None:
            return self._sampling.frequencies(like, generator)
        return normal_numbers((self.num_freqs, like.shape[1]), generator, like.device).to(like.dtype)

    def _errors(self, data: Split, num_classes: int) -> Tensor:
        """The mean cross-entropy of each class ``[C]``."""
        errors = F.cross_entropy(logits_in_chunks(self.network, data.images), data.labels, reduction="none")
        return class_means(errors, data.labels, num_classes)

    def state(self) -> dict[str, Tensor]:
        plateau, lr = self._plateau, self._counted.param_groups[0]["lr"]
        best = min(plateau.best, torch.finfo(torch.float64).max)  # Checkpoints hold no infinite number.
        found = {"plateau": torch.tensor([best, plateau.num_bad_epochs, lr], dtype=torch.float64)}
        return found if self._sampling is None else {**found, **self._sampling.state()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        best, bad, lr = tensors["plateau"].tolist()
        self._plateau.best, self._plateau.num_bad_epochs = best, int(bad)
        self._counted.param_groups[0]["lr"] = lr
        if self._sampling is not None:
            self._sampling.load_state(tensors)


class _Sampling:
    """The network that learns frequencies, with its optimiser."""

    def __init__(self, context: Context, lr: float) -> None:
        features = context.blank_network().classifier.in_features
        self.network = FrequencyNetwork(features).draw(context.streams("sampling")).to(context.data.device)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr)

    def frequencies(self, like: Tensor, generator: torch.Generator) -> Tensor:
        (noise,) = to_device([torch.randn(ROWS, like.shape[1], generator=generator)], like.device)
        frequencies: Tensor = self.network(noise)
        return frequencies

    def ascend(self, loss: Tensor) -> None:
        """A step towards a larger loss."""
        self.optimizer.zero_grad()
        (-loss).backward()
        self.optimizer.step()

    def state(self) -> dict[str, Tensor]:
        found = {f"sampling/{name}": value for name, value in self.network.state_dict().items()}
        for number, parameter in enumerate(self.network.parameters()):
            own = remembered(self.optimizer, parameter)
            found.update({f"sampling/{name}/{number}": value for name, value in own.items()})
        return found

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        self.network.load_state_dict({name: tensors[f"sampling/{name}"] for name in self.network.state_dict()})
        for number, parameter in enumerate(self.network.parameters()):
            self.optimizer.state[parameter].clear()
            own = (key.split("/") for key in tensors if key.startswith("sampling/") and key.endswith(f"/{number}"))
            restore(self.optimizer, parameter, {name: tensors[f"sampling/{name}/{number}"] for _, name, _ in own})
