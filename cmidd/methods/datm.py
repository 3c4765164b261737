"""DATM, difficulty-aligned trajectory matching (Guo et al., ICLR 2024)."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from cmidd.buffers.experts import ExpertSettings
from cmidd.compute import passes
from cmidd.core.context import Context
from cmidd.data.augmentation import Augmentation
from cmidd.methods.mtt import MTT, epochs_read
from cmidd.networks import Network
from cmidd.synthetic.soft_labels import SoftLabels
from cmidd.utils.errors import SettingError
from cmidd.utils.setting_types import Count, Fraction, NonNegative, Positive

log = logging.getLogger(__name__)
LOOKED_AT = 256  # images of a class that are classified at a time, until enough are right


class DATM(MTT):
    """MTT on soft labels that are learned as well, along ever later parts of the trajectories of flat experts.

    The set starts from images that the trained experts classify correctly, and from their logits. An iteration whose
    distance is above ``threshold`` moves nothing.

    Args:
        init: ``recognised``: of every class the first images, shuffled, that expert 0 classifies correctly, then expert
            1, and so on, with the mean logits of all experts that do; otherwise the run's start, with the logits of
            expert 0.
        min_start_epoch: start epochs begin there.
        first_max_start_epoch: the bound in the first iteration, which grows to ``max_start_epoch`` at iteration
            ``curriculum_iterations``; None: the last bound from the beginning.
        lr_y, momentum_y: of the labels.
    """

    unsteady = ("lr_teacher", "lr_lr", "lr_img", "lr_y")
    soft_labels = True
    declines = "their loss was above method.threshold"
    in_stages = "its soft labels begin as what experts say that were trained on the real data from their start"

    def __init__(
        self,
        context: Context,
        *,
        init: Literal["recognised", "real", "noise"],
        lr_img: Positive,
        momentum: Fraction,
        lr_y: NonNegative,
        momentum_y: Fraction,
        syn_steps: Count,
        expert_epochs: Count,
        min_start_epoch: Annotated[int, Field(strict=True, ge=0, le=10**9)],
        first_max_start_epoch: Count | None,
        max_start_epoch: Count,
        curriculum_iterations: Count,
        threshold: Positive,
        lr_lr: NonNegative,
        lr_teacher: Positive,
        batch_syn: Count | None,
        augment: Augmentation,
        experts: ExpertSettings,
    ) -> None:
        super().__init__(
            context,
            lr_img=lr_img,
            momentum=momentum,
            syn_steps=syn_steps,
            expert_epochs=expert_epochs,
            max_start_epoch=max_start_epoch,
            lr_lr=lr_lr,
            lr_teacher=lr_teacher,
            batch_syn=batch_syn,
            augment=augment,
            experts=experts,
        )
        self.lr_y, self.momentum_y, self.threshold = lr_y, momentum_y, threshold
        self.min_start_epoch, self.first_max_start_epoch = min_start_epoch, first_max_start_epoch
        self.curriculum_iterations = curriculum_iterations
        if init == "recognised":
            self._start_from_recognised()
        context.synthetic.soft_labels = SoftLabels(self._first_labels(masked=init == "recognised"), "logits")

    @classmethod
    def experts_read(cls, settings: Mapping[str, Any]) -> ExpertSettings:
        """What is stepped along, and how each ends: of the 101 rows of CIFAR10 at ten images per class 23."""
        experts = super().experts_read(settings)
        last = len(experts.training.learning_rates)
        read = epochs_read(settings["max_start_epoch"], settings["expert_epochs"])
        return experts.keeping([*range(min(read, last) + 1), last])

    @classmethod
    def shortest(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        training = replace(settings["experts"].training, epochs=settings["expert_epochs"])
        experts = replace(settings["experts"], count=1, training=training)
        changed = {"experts": experts, "min_start_epoch": 0, "first_max_start_epoch": None, "max_start_epoch": 1}
        return {**settings, **changed}

    @classmethod
    def refuse(cls, settings: Mapping[str, Any], network: Network) -> None:
        super().refuse(settings, network)
        first, last, least = (settings[f"{name}_start_epoch"] for name in ("first_max", "max", "min"))
        for name, value in (("first_max_start_epoch", first), ("max_start_epoch", last)):
            if value is not None and not least < value <= last:
                raise SettingError(
                    f"method.{name}={value}: start epochs go from method.min_start_epoch={least} to below it, and at "
                    f"the end to below method.max_start_epoch={last}; choose one in between"
                )

    def param_groups(self) -> list[dict[str, Any]]:
        soft = self.context.synthetic.soft_labels
        assert soft is not None
        labels = {"params": [soft.values], "lr": self.lr_y, "momentum": self.momentum_y}
        return [*super().param_groups(), {**labels, "setting": "lr_y", "what": "the labels"}]

    def _start_epochs(self, iteration: int) -> tuple[int, int]:
        return self.min_start_epoch, self._bound(iteration)

    def _bound(self, iteration: int) -> int:
        """The epoch that start epochs of an iteration are below."""
        last, first = self.max_start_epoch, self.first_max_start_epoch
        if first is None:
            return last
        return min(last, first + int((last - first) * iteration / self.curriculum_iterations))

    def _declines(self, loss: Tensor) -> bool:
        return not float(loss.detach()) <= self.threshold

    def _start_from_recognised(self) -> None:
        """Begin with images that experts classify correctly."""
        data, leaf = self.context.data, self.context.synthetic.leaf
        each, chosen, others = len(leaf) // data.num_classes, [], 0
        for label, members in enumerate(data.class_members):
            order = members[torch.randperm(len(members), generator=self.context.streams("order", label))]
            found = self._recognised(order, label, each)
            chosen.append(data.first(torch.cat([found, order[~torch.isin(order, found)]]), each))
            others += int((~torch.isin(chosen[-1], found)).sum())
        if others:
            log.warning("no expert recognises %d of the images to start from, which are random ones", others)
        with torch.no_grad():
            leaf.copy_(data.train[torch.cat(chosen).to(data.device)].images)

    def _recognised(self, order: Tensor, label: int, count: int) -> Tensor:
        """The first ``count`` of a class's images in ``order`` that expert 0 classifies correctly, then expert 1, and
        so on.
        """
        found: list[int] = []
        for expert in range(self.trained.count):
            theta = self.trained.last(expert)
            for some in order.split(LOOKED_AT):
                if len(found) >= count:
                    return torch.tensor(found[:count])
                logits = self._logits_at(theta, self.context.data.train[some.to(self.context.data.device)].images)
                found += [index for index in some[logits.argmax(1).cpu() == label].tolist() if index not in found]
        return torch.tensor(found[:count], dtype=torch.int64)

    @torch.no_grad()
    def _logits_at(self, theta: Tensor, images: Tensor) -> Tensor:
        """The logits ``[N, C]`` of an expert of these parameters."""
        theta = theta.to(images)
        return passes.by_parts(lambda some: passes.logits_at(self.student, theta, some), self.student, images)

    def _first_labels(self, masked: bool) -> Tensor:
        """Logits ``[N, C]``: the mean of those experts that are right about an image, or those of expert 0."""
        images, labels = self.context.synthetic.leaf.detach(), self.context.synthetic.leaf_labels
        first = self._logits_at(self.trained.last(0), images)
        if not masked:
            return first
        total, count = torch.zeros_like(first), torch.zeros_like(first[:, 0])
        for expert in range(self.trained.count):
            logits = first if expert == 0 else self._logits_at(self.trained.last(expert), images)
            right = logits.argmax(1) == labels
            total += right[:, None] * logits
            count += right
        # Of what none is right about, those of the first.
        return torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], first)
