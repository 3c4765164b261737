"""A run's parts made from its settings: context, starting set, regularisers, engine."""

import functools
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from cmidd.buffers.experts import ExpertSettings
from cmidd.buffers.teacher_files import refuse_unfit
from cmidd.buffers.teachers import TeacherPools
from cmidd.compute.engine import Engine, choose, fitted
from cmidd.core.context import Context, blank_of, new_network
from cmidd.core.regularizer import Regularizer
from cmidd.core.sampler import Sampler
from cmidd.core.teachers import Teachers
from cmidd.data.dataset import Dataset
from cmidd.data.load import load_dataset
from cmidd.loop.balance import Ratio
from cmidd.methods import METHODS
from cmidd.regularizers import REGULARIZERS
from cmidd.runs.identity import EARLIER
from cmidd.runs.settings import Settings
from cmidd.samplers import SAMPLERS
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils import files
from cmidd.utils.checking import checked, own_of
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams

log = logging.getLogger(__name__)


def make_regularizers(
    settings: Settings, context: Context, teachers: Teachers
) -> list[tuple[float | Ratio, Regularizer]]:
    """The regularisers with their weights or ratios; a pool of teachers is made when one wants it."""
    made: list[tuple[float | Ratio, Regularizer]] = []
    for name, given in settings.terms.items():
        kind, own = REGULARIZERS[name], dict(given)
        weight, ratio = own.pop("weight"), own.pop("ratio", None)
        if settings.ipc * settings.formation.tiles < kind.images_needed(own):
            log.warning("%s is zero at one image per class: ipc=1 with %s.lambda gives the baseline", name, name)
        made.append((weight if ratio is None else Ratio(ratio), kind(context, teachers, **checked(kind, own, name))))
    return made


def make_teachers(settings: Settings, context: Context) -> TeacherPools:
    """The pools of teachers of a run."""
    cmi = settings.cmi
    return TeacherPools(context, cmi.teacher, cmi.pool, cmi.epochs, cmi.teachers)


def expert_settings(settings: Settings, stage: int = 0) -> ExpertSettings | None:
    """The experts that the method reads in a stage, as long as it reads them; None where it has none."""
    arguments, method = settings.arguments_in(stage), METHODS[settings.method["name"]]
    experts: ExpertSettings | None = method.experts_read(arguments)
    return experts


def starting_set(settings: Settings, data: Dataset, sampler: Sampler, ipc: int, streams: Streams) -> SyntheticSet:
    """``ipc`` images of every class that distillation starts from: real ones, as the sampler says, or noise."""
    data.check_ipc(ipc)
    formation, side = settings.formation, min(data.image_shape[1:])
    if formation.factor > side:
        raise SettingError(f"method.formation.factor={formation.factor}: images have {side} pixels a side; choose less")
    if settings.init == "noise":
        return SyntheticSet.from_noise(data, ipc, streams("init"), formation)
    network = functools.partial(new_network, data, settings.network)
    drawn = sampler.first(ipc, formation.tiles, streams("init"), network, settings.distinct)
    return SyntheticSet.from_batches(data, drawn, formation)


def make_context(settings: Settings, device: torch.device) -> Context:
    """Load the data and the initial synthetic set; refuses an impossible ipc before any work."""
    return context_of(settings, load_data(settings, device))


def load_data(settings: Settings, device: torch.device) -> Dataset:
    """The data set of a run; of many pictures what was decoded is kept, but by a dry run."""
    kept = None if settings.dry_run else Path(settings.buffers_root) / "images"
    return load_dataset(**settings.dataset, **vars(settings.data), device=device, cache=kept)


def context_of(settings: Settings, data: Dataset) -> Context:
    """The world of a run on its data set, as :func:`make_context` makes it."""
    streams = Streams(settings.seed)
    data.check_ipc(settings.ipc)
    for options in _networks(settings):
        blank_of(data, options)
    cmi = settings.cmi
    if settings.taught and cmi.teachers is not None and cmi.teachers.path is not None:
        refuse_unfit(cmi.teachers.path, cmi.pool, cmi.teacher, data, settings.network)
    sampler = SAMPLERS[settings.sampler["name"]](data, **own_of(SAMPLERS, settings.sampler, "sampler"))
    return Context(
        data=data,
        synthetic=starting_set(settings, data, sampler, settings.stage_sizes[0], streams),
        streams=streams,
        buffers=Path(settings.buffers_root),
        network=settings.network,
        data_key=data_key(settings.dataset, data),
        sampler=sampler,
    )


def data_key(given: Mapping[str, Any], data: Dataset) -> dict[str, Any]:
    """What caches are named by of a data set of some settings."""
    key = {name: value for name, value in given.items() if EARLIER.get(f"dataset.{name}") != value}
    if data.content is not None:
        key["content"] = data.content
    return key


def _networks(settings: Settings) -> list[dict[str, Any]]:
    """The networks that a run trains: its own, and the teacher where it has some."""
    cmi, own = settings.cmi, settings.network
    trained = settings.taught and cmi.teachers is None and cmi.teacher != own["name"]
    return [own, *([{"name": cmi.teacher}] if trained else [])]


def chosen_engine(settings: Settings, context: Context) -> Engine:
    """The engine that the run began with, as this device can be it, with what is asked for otherwise from here on, or
    :func:`fitting_engine`.
    """
    kept, asked, device = settings.folder / "engine.json", settings.engine, context.data.device
    begun = Engine(**files.read_json(kept)) if kept.exists() else None
    graphs = begun is not None and begun.graphs and device.type == "cuda"
    switches = (asked.deterministic, asked.graphs) == (begun.deterministic, graphs) if begun else False
    if begun and switches and asked.compile in ("auto", begun.compile) and asked.at_once in ("auto", begun.at_once):
        return fitted(begun, device)
    engine = fitting_engine(settings, context)
    if begun:  # Precision changes the result.
        compiling = begun.compile if asked.compile == "auto" else engine.compile
        engine = fitted(replace(engine, precision=begun.precision, compile=compiling), device)
    files.write_json(kept, asdict(engine))
    return engine


def fitting_engine(settings: Settings, context: Context) -> Engine:
    """The engine that the settings and the length of a run ask for; what is cached for the run is made by it too."""
    data, protocol = context.data, settings.evaluation
    method = METHODS[settings.method["name"]]
    distilling = method.images_per_iteration(data.num_classes, settings.ipc, settings.arguments)
    images = settings.ipc * data.num_classes * settings.formation.tiles
    evaluating = protocol.repeats * protocol.training.epochs * images
    passing = settings.iterations * (distilling + evaluating / min(protocol.interval, settings.iterations))
    return choose(settings.engine, data.device, passing * math.prod(data.image_shape))
