"""A teacher that labels what networks are trained on: the mean of the logits of a pool."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cmidd.buffers.teacher_files import refuse_unfit
from cmidd.compute import passes
from cmidd.compute.training import Teacher
from cmidd.core.context import Context, blank_of
from cmidd.data.dataset import Dataset
from cmidd.evaluation.subject import Subject
from cmidd.networks import Network
from cmidd.runs.build import data_key, make_teachers
from cmidd.runs.settings import Settings
from cmidd.samplers.random import RandomSampler
from cmidd.utils.random_streams import Streams


def refuse_unfit_teachers(settings: Settings, data: Dataset, network: dict[str, Any]) -> None:
    """Check that the teachers of ``cmi.teachers`` fit a data set, or that such images fit those to be trained.

    Args:
        network: the options of the network that the set was made with, which a teacher of its name has as well.

    Raises:
        SettingError: naming what differs and the way out.
    """
    cmi = settings.cmi
    if cmi.teachers is not None and cmi.teachers.path is not None:
        refuse_unfit(cmi.teachers.path, cmi.pool, cmi.teacher, data, network)
    else:
        blank_of(data, network if network["name"] == cmi.teacher else {"name": cmi.teacher})


def teacher_of(settings: Settings, subject: Subject) -> tuple[Teacher, dict[str, Any]]:
    """The teacher that a run's settings of CMI name, made or read as for a run that made the set, and what it is for
    records and keys.
    """
    pool = make_teachers(settings, context_of_subject(settings, subject, subject.network))()
    return Mean(pool.shelf), pool.about


def context_of_subject(settings: Settings, subject: Subject, network: dict[str, Any]) -> Context:
    """The world of a run that would have made the set with a network: what caches of baselines and teachers go by."""
    data = subject.data
    return Context(
        data=data,
        synthetic=subject.synthetic,
        streams=Streams(settings.seed),
        buffers=Path(settings.buffers_root),
        network=network,
        data_key=data_key(subject.given, data),
        sampler=RandomSampler(data),
    )


class Mean:
    """The mean of the logits of several networks."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self.networks = networks

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """The logits ``[B, K]`` for images in network input space ``[B, C, H, W]``."""
        return torch.stack([passes.logits(network, images) for network in self.networks]).mean(0)
