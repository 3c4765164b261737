"""Expert trajectories: networks trained on the real data, their parameters kept after every epoch."""

import glob
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from cmidd.buffers.expert import Expert, Outlook, kept_epochs, read_rows, remove_left
from cmidd.compute.engine import current, using
from cmidd.compute.kept import Written
from cmidd.compute.recipe import TrainingRecipe, stated
from cmidd.compute.together import how_many_at_once, new_training
from cmidd.compute.training import accuracy, refuse_diverged
from cmidd.core.context import Context
from cmidd.utils import cache, clock, files, locks, tensor_files
from cmidd.utils.cache import check_tensors, refuse_others
from cmidd.utils.errors import SettingError
from cmidd.utils.nested import at
from cmidd.utils.random_streams import Streams
from cmidd.utils.setting_types import Count

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExpertRecipe(TrainingRecipe):
    """How an expert is trained; ``epochs`` may be left open (None): as many as are read."""

    epochs: Count | None = None  # type: ignore[assignment]


@dataclass(frozen=True)
class ExpertSettings:
    """How many experts, and how each is trained.

    ``dtype``: in what the parameters are kept on disk. In ``float16`` half the space; rounding moves a parameter by at
    most 1/2048 of itself, far less than an epoch does.
    """

    count: Count
    training: ExpertRecipe
    dtype: Literal["float32", "float16"] = "float32"

    def reaching(self, epochs: int) -> "ExpertSettings":
        """With ``epochs`` where the recipe leaves them open."""
        if self.training.epochs is not None:
            return self
        return replace(self, training=replace(self.training, epochs=epochs))

    @property
    def setting(self) -> str:
        """What errors call them: the name of a method's setting."""
        return "experts"

    def keeping(self, epochs: Iterable[int], setting: str = "experts") -> "FewRows":
        """Of which only what stands after these epochs is kept; the recipe must say how many there are."""
        return FewRows(self.count, self.training, self.dtype, tuple(sorted(set(epochs))), setting)


@dataclass(frozen=True)
class FewRows(ExpertSettings):
    """Experts of which, once they are trained, only some rows are kept: those after ``epochs``."""

    epochs: tuple[int, ...] = ()
    setting: str = "experts"


class Experts:
    """A buffer on disk, one safetensors file an expert, made where absent, read by rows.

    A file holds the ``trajectory`` ``[epochs + 1, P]`` and, where these rows do not tell how the training goes on, its
    ``last`` parameters ``[P]`` (unrounded) and ``momentum`` ``[P]`` (or what Adam remembers). It grows: with
    the epochs while it is made, and when more of them are asked for later, to the same bits as if it had been made at
    once. Where the learning rate of an epoch depends on how many there are, each length is a buffer of its own.

    Of :class:`FewRows` a file holds the rows that are read alone, and its header after which ``epochs`` they stand; all
    are kept beside it until it is made. Nothing that a file holds is lost, for other runs read it: where other rows are
    asked for it is made again, with both, and one that has all rows keeps them.

    The folder is named by a hash of what makes a trajectory, so no run can read another setting's experts.
    Expert i is the same whoever makes it: interrupted work goes on where it stopped, and several processes
    that want the same buffer share the work, each expert under a lock of its own. Unless told to ``make`` it, it only
    counts the ``missing`` ones.
    """

    def __init__(self, context: Context, settings: ExpertSettings, *, make: bool = True) -> None:
        self.count, self.settings = settings.count, settings
        recipe = settings.training
        self.length, self.grows = len(recipe.learning_rates) + 1, recipe.schedule == "constant"
        self.wanted = settings.epochs if isinstance(settings, FewRows) else tuple(range(self.length))
        parameters = [p.numel() for p in context.blank_network().parameters()]
        self.size, self.parameters = sum(parameters), len(parameters)
        self.made_by: dict[str, Any] = {
            **context.made_by,
            "network": context.network,
            "training": stated(recipe),
        }
        if self.grows:
            del self.made_by["training"]["epochs"]
        if settings.dtype != "float32":
            self.made_by["dtype"] = settings.dtype
        if context.warm_start is not None:
            self.made_by["after"] = context.warm_start.key
        self.folder = context.buffers / "experts" / f"{context.data.name}_{cache.fingerprint(self.made_by)}"
        refuse_others(self.folder, self.made_by)
        self.paths = [self.folder / f"expert_{index:03d}.safetensors" for index in range(self.count)]
        self._take_from_before(context.data.name)
        self.missing = sum(not self._is_made(path) for path in self.paths)
        if not make:
            return
        if self.missing:
            log.info("training %d of %d experts into %s", self.missing, self.count, self.folder)
            files.write_json(self.folder / "settings.json", self.made_by)
        self._outlook = Outlook(self.missing)
        with clock.timed("experts"):
            at_once = how_many_at_once(context.blank_network(), recipe, context.data.train)
            locks.make_missing(self.paths, lambda some: self._make(some, context), self._is_made, at_once)
        for path in self.paths:
            remove_left(path)

    def segment(self, expert: int, start: int, end: int) -> tuple[Tensor, Tensor]:
        """Flat parameters ``[P]`` of an expert after ``start`` and after ``end`` epochs; reads two rows."""
        first, second = read_rows(self.paths[expert], (start, end))
        return first, second

    def last(self, expert: int) -> Tensor:
        """Flat parameters ``[P]`` of an expert at the end of its training."""
        (row,) = read_rows(self.paths[expert], (self.length - 1,))
        return row

    def _is_made(self, path: Path) -> bool:
        """Whether an expert is there and long enough; refused when it is another's."""
        return path.parent != self.folder or (path.exists() and self._rows(path) >= self.length)

    def _rows(self, path: Path) -> int:
        """How many rows an expert's file has (where few are kept, all or none as asked for); refused if another's."""
        found, about = tensor_files.read_shapes(path)
        if (kept := about.get("epochs")) is not None:
            check_tensors([path], {"trajectory": [len(kept), self.size]}, self.made_by)
            return self.length if set(self.wanted) <= set(kept) else 0
        rows: int = (found.get("trajectory") or [0])[0]
        shapes = {name: [self.size] for name in self._going_on(rows)}
        if "step" in shapes:  # Adam's count, one for each parameter.
            shapes["step"] = [self.parameters]
        check_tensors([path], {"trajectory": [rows or self.length, self.size], **shapes}, self.made_by)
        return rows

    def _going_on(self, rows: int) -> list[str]:
        """What a file of so many rows needs beside them for the training to go on."""
        if rows >= self.length and not self.grows:
            return []
        unrounded = ["last"] if self.settings.dtype != "float32" else []
        return [*unrounded, *self.settings.training.remembered]

    def _take_from_before(self, dataset: str) -> None:
        """Read experts that are not here from a buffer that is long enough, of the time when length was in the key, or
        whether the engine compiled.
        """
        for path in sorted(self.folder.parent.glob(f"{glob.escape(dataset)}_*/settings.json")):
            try:
                before = cache.not_compiled(files.read_json(path))
            except SettingError as error:
                log.warning("not looked for experts in %s: %s", path.parent, error)
                continue
            others = [
                (index, path.with_name(own.name)) for index, own in enumerate(self.paths) if not self._is_made(own)
            ]
            others = [(index, other) for index, other in others if other.exists()]
            if before == files.as_json(self.made_by):
                for index, other in others:
                    if self._rows(other) >= self.length:
                        self.paths[index] = other
                continue
            epochs = at(before, "training.epochs")
            made_by = {**self.made_by, "training": {**self.made_by["training"], "epochs": epochs}}
            if not isinstance(epochs, int) or epochs + 1 < self.length or before != files.as_json(made_by):
                continue
            for index, other in others:
                check_tensors([other], {"trajectory": [epochs + 1, self.size]}, made_by)
                self.paths[index] = other

    def _make(self, indices: Sequence[int], context: Context) -> None:
        """Train some experts, those at once that are equally far."""
        begun = [self._begun(index, context) for index in indices]
        for rows in sorted({len(expert.rows) for expert in begun}):
            self._train([expert for expert in begun if len(expert.rows) == rows], context)
        # Not compiled: another order in which torch sees shapes might compile other kernels later.
        with using(replace(current(), compile=False)):
            for expert in begun:
                reached = accuracy(expert.network, context.data.test)
                self._outlook.say(expert.what, f"{reached:.2f} per cent on {context.data.held_out}")

    def _begun(self, index: int, context: Context) -> Expert:
        """What there is of an expert."""
        what, streams = f"expert {index + 1}/{self.count}", Streams(0).child("expert", index)
        expert = Expert(what, self.paths[index], context.new_network(streams("network")), streams)
        expert.kept = kept_epochs(expert.path) if expert.path.exists() else ()
        if expert.begun.exists():
            self._rows(expert.begun)
            return expert.read(self.settings.training)
        if context.warm_start is not None:
            context.warm_start.train(expert.network, streams.child("warm"))
        self._record(expert)
        return expert

    def _record(self, expert: Expert) -> None:
        dtype, lr = getattr(torch, self.settings.dtype), self.settings.training.lr
        expert.rows.append(parameters_to_vector(expert.network.parameters()).detach().to("cpu", dtype, copy=True))
        name = f"method.{self.settings.setting}.training.lr={lr:g}"
        refuse_diverged(expert.rows[-1:], name, f"training {expert.what}")

    def _train(self, experts: Sequence[Expert], context: Context) -> None:
        """Train experts that are equally far to their end."""
        if len(experts[0].rows) >= self.length:  # They were begun for a run that reads more of them.
            for expert in experts:
                self._write(expert, expert.state, whole=True)
            return
        training = new_training([expert.network for expert in experts], self.settings.training)
        if len(experts[0].rows) > 1:
            training.go_on(len(experts[0].rows) - 1, [expert.state for expert in experts])
        several, written = "" if len(experts) == 1 else f" and {len(experts) - 1} more at once", Written()
        what = f"{experts[0].what}{several}{self._outlook.left}"
        for done in training.epochs(context.data.train, [expert.streams for expert in experts], what=what):
            for expert in experts:
                self._record(expert)
            if done + 1 == self.length or written.due():
                for expert, state in zip(experts, training.states(), strict=True):
                    self._write(expert, state)

    def _write(self, expert: Expert, state: Mapping[str, Iterable[Tensor]], *, whole: bool = False) -> None:
        """Write what there is of an expert, with what its file holds."""
        state, rows = {"last": expert.network.parameters(), **state}, len(expert.rows)
        more = {name: torch.cat([t.flatten() for t in state[name]]) for name in self._going_on(rows)}
        about: dict[str, Any] = {"made_by": self.made_by}
        few = isinstance(self.settings, FewRows) and expert.kept is not None and not whole
        if rows < self.length and (few or expert.kept):
            tensor_files.write_tensors(expert.begun, {"trajectory": expert.after(range(rows)), **more}, about)
            return
        epochs = sorted({*(self.wanted if few else range(rows)), *(expert.kept or [])})
        if few or epochs[-1] >= rows:
            about["epochs"], more = epochs, {}
        tensor_files.write_tensors(expert.path, {"trajectory": expert.after(epochs), **more}, about)
        files.remove_unfinished(expert.path)
