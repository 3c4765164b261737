"""The accuracies behind the scores: a set and random images, each with and without its labels and augmentation."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cmidd.compute.recipe import TrainingRecipe, with_hard_labels
from cmidd.compute.training import Teacher
from cmidd.data.augmentation import Augmentation
from cmidd.data.split import Split
from cmidd.evaluation.evaluate import TrainAndTest, accuracy_of_one, evaluate, in_pieces
from cmidd.evaluation.protocols import EvaluationProtocol
from cmidd.evaluation.scores import TERMS, Scores
from cmidd.evaluation.subject import Subject
from cmidd.evaluation.train_on_set import TrainingStage, digest, labelled, stages_of
from cmidd.utils import cache
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

log = logging.getLogger(__name__)


def refuse_unscorable(subject: Subject, *, taught: bool) -> None:
    """Refuse a set that random images cannot be compared with, before any work.

    Args:
        taught: whether there is a teacher.

    Raises:
        SettingError: when it has soft labels and no teacher is there to give random images theirs, or a class has fewer
            images than the set.
    """
    subject.data.check_ipc(ipc_of(subject))
    if subject.recipe.loss != "hard" and not taught:
        raise SettingError(
            f"scores=true: the set is trained on with loss={subject.recipe.loss}, and nothing labels random images in "
            "the same way; give cmi.teacher=<network> or cmi.teachers=<folder of networks>, or "
            "evaluation.training.loss=hard"
        )


def ipc_of(subject: Subject) -> int:
    """How many images of a class the set stores."""
    return max(1, len(subject.synthetic.labels) // subject.data.num_classes)


def measure_scores(
    subject: Subject,
    network: dict[str, Any],
    protocol: EvaluationProtocol,
    streams: Streams,
    *,
    real: Sequence[float],
    real_from: str = "measured",
    teacher: Teacher | None = None,
    syn_any: Sequence[float] | None = None,
    kept: Path | None = None,
    made_by: Mapping[str, Any] | None = None,
) -> Scores:
    """Train ``protocol.repeats`` networks for every term of :data:`cmidd.evaluation.scores.TERMS`, and score
    each run. Terms that are trained alike are measured once.

    All terms have the subject's optimiser, schedule and learning rate: the step size that was learned with the set
    where there is one. Random images are drawn anew for each run.

    Args:
        network: the ``name`` of a network with its options.
        real: accuracies of the whole training set with hard labels, in per cent.
        real_from: what the record says of them.
        teacher: labels random images, where the subject's recipe asks for soft labels: once each, clean, where these
            are the set's (mode S) or corrected ones, or every batch as networks see it (mode M).
        syn_any: accuracies of the subject as it is, where an evaluation has them; one a run.
        kept, made_by: as for :func:`cmidd.evaluation.evaluate.evaluate`.

    Raises:
        SettingError: as :func:`refuse_unscorable`.
    """
    refuse_unscorable(subject, taught=teacher is not None)
    measure = _Measuring(subject, network, protocol.repeats, streams, teacher, kept, made_by or {})
    own = subject.recipe
    plain = dataclasses.replace(own, augment=Augmentation("none"), cutmix=0.0, mixup=0.0)
    hard = with_hard_labels(plain)
    if syn_any is not None:
        measure.found["syn", own] = list(syn_any)
    accuracies = {"real_hard": list(real)}
    for name, recipe in (("hard", hard), ("plain", plain), ("any", own)):
        for kind in ("syn", "rdm"):
            accuracies[f"{kind}_{name}"] = measure(kind, recipe, f"{kind}_{name}")
    labels: Any = "hard" if own.loss == "hard" else own.targets
    return Scores(accuracies, real_from, labels, stages_of(subject.synthetic, own)[-1][1].lr)


@dataclasses.dataclass
class _Measuring:
    """Measures terms, each recipe once."""

    subject: Subject
    network: dict[str, Any]
    repeats: int
    streams: Streams
    teacher: Teacher | None
    kept: Path | None
    made_by: Mapping[str, Any]
    found: dict[tuple[str, TrainingRecipe], list[float]] = dataclasses.field(default_factory=dict)

    def __call__(self, kind: str, recipe: TrainingRecipe, term: str) -> list[float]:
        if (kind, recipe) not in self.found:
            log.info("scores: training %d networks on %s", self.repeats, TERMS[term])
            measure = self._synthetic if kind == "syn" else self._random
            self.found[kind, recipe] = measure(recipe, self.streams.child(term))
        return self.found[kind, recipe]

    def _synthetic(self, recipe: TrainingRecipe, streams: Streams) -> list[float]:
        subject = self.subject
        return evaluate(
            subject.data,
            self.network,
            stages_of(subject.synthetic, recipe),
            self.repeats,
            streams,
            optimizer=subject.optimizer,
            kept=self.kept,
            made_by=self.made_by,
            teacher=self.teacher,
        )

    def _random(self, recipe: TrainingRecipe, streams: Streams) -> list[float]:
        data, optimizer = self.subject.data, self.subject.optimizer

        def measure(repeat: int) -> float:
            own, what = streams.child("repeat", repeat), f"random images, network {repeat + 1} of {self.repeats}"
            how = TrainAndTest(data, self.network, self._random_stages(repeat, recipe), optimizer, self.teacher)
            return accuracy_of_one(how, own, what)

        if self.kept is None:
            return [measure(repeat) for repeat in range(self.repeats)]
        lessons = digest(self._random_stages(0, recipe))
        key = {**self.made_by, "network": self.network, "random": lessons, "streams": streams.seed}
        key |= {} if self.subject.optimizer == "fresh" else {"optimizer": self.subject.optimizer}
        return in_pieces(self.kept, cache.fingerprint(key), self.repeats, measure)

    def _random_stages(self, repeat: int, recipe: TrainingRecipe) -> list[TrainingStage]:
        """The random images of a run in as many stages as the set has, each with the set's learned step size, where
        there is one: of every class the first ones, as many as the set has of it by then.
        """
        images, synthetic = self._drawn(repeat, recipe), self.subject.synthetic
        each, classes = ipc_of(self.subject), self.subject.data.num_classes
        position, found = torch.arange(len(images), device=images.device) % each, []
        for number, (_, own) in enumerate(stages_of(synthetic, recipe)):
            there = int((synthetic.stages <= number).sum()) // classes
            found.append((images if there == each else images[position < there], own))
        return found

    def _drawn(self, repeat: int, recipe: TrainingRecipe) -> Split:
        """The random images of a run, the same in all terms, with soft labels where the recipe trains on a set's."""
        generator = self.streams.child("draw", repeat)("images")
        images = self.subject.data.class_batches(ipc_of(self.subject), generator)
        if recipe.loss == "hard" or recipe.targets != "set" or self.teacher is None:
            return images
        return dataclasses.replace(images, soft=labelled(images, self.teacher))
