"""Expert trajectories: networks trained on the real data, their parameters kept after every epoch."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from cmidd import files
from cmidd.caches import check_tensors, refuse_others
from cmidd.streams import Streams
from cmidd.training import Count, TrainingRecipe, refuse_diverged, train

if TYPE_CHECKING:
    from cmidd.objectives.base import Context

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpertSettings:
    """How many experts, and how each is trained. ``epochs`` need not exceed what distillation reads.

    ``dtype``: in what the parameters are kept on disk. In ``float16`` half the space; rounding moves a parameter by at
    most 1/2048 of itself, far less than an epoch does.
    """

    count: Count
    training: TrainingRecipe
    dtype: Literal["float32", "float16"] = "float32"

    @property
    def epochs(self) -> int:
        return self.training.epochs


class Experts:
    """A buffer on disk, one safetensors file ``[epochs + 1, P]`` an expert, made where absent, read by rows.

    The folder is named by a hash of what makes a trajectory, so no run can read another setting's experts.
    Expert i is the same whoever makes it: interrupted work goes on where it stopped, and several processes
    that want the same buffer share the work, each expert under a lock of its own.
    """

    def __init__(self, context: "Context", settings: ExpertSettings) -> None:
        self.count = settings.count
        made_by: dict[str, object] = {
            **context.made_by,
            "network": context.network,
            "training": asdict(settings.training),
        }
        if settings.dtype != "float32":
            made_by["dtype"] = settings.dtype
        if context.warm_start is not None:
            made_by["after"] = context.warm_start.key
        self.folder = context.buffers / "experts" / f"{context.data.name}_{files.fingerprint(made_by)}"
        refuse_others(self.folder, made_by)
        paths = [self._path(index) for index in range(self.count)]
        missing = sum(not path.exists() for path in paths)
        if missing:
            log.info("training %d of %d experts into %s", missing, self.count, self.folder)
            files.write_json(self.folder / "settings.json", made_by)
        files.make_missing(paths, lambda index: self._make(index, context, settings, made_by))
        size = sum(p.numel() for p in context.blank_network().parameters())
        shape = [len(settings.training.learning_rates) + 1, size]
        check_tensors(paths, {"trajectory": shape}, made_by)

    def segment(self, expert: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Flat parameters ``[P]`` of an expert after ``start`` and after ``end`` epochs; reads two rows."""
        with safe_open(self._path(expert), framework="pt") as file:
            rows = file.get_slice("trajectory")
            return rows[start].float(), rows[end].float()

    def _path(self, index: int) -> Path:
        return self.folder / f"expert_{index:03d}.safetensors"

    def _make(self, index: int, context: "Context", settings: ExpertSettings, made_by: dict[str, object]) -> None:
        streams = Streams(0).child("expert", index)
        network = context.new_network(streams("network"))
        if context.warm_start is not None:
            context.warm_start.train(network, streams.child("warm"))
        rows: list[Tensor] = []

        dtype = getattr(torch, settings.dtype)

        def record() -> None:
            rows.append(parameters_to_vector(network.parameters()).detach().to("cpu", dtype, copy=True))

        record()
        what = f"expert {index + 1}/{self.count}"
        train(network, context.data.train, settings.training, streams, what=what, after_epoch=record)
        lr = settings.training.lr
        refuse_diverged(rows, f"method.experts.training.lr={lr:g}", f"training {what}")
        files.write_tensors(self._path(index), {"trajectory": torch.stack(rows)}, {"made_by": made_by})
