"""The pool of pre-trained networks in whose feature space CMI is measured."""

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from typing_extensions import TypedDict

from cmidd.buffers import teacher_files
from cmidd.buffers.shelf import Shelf
from cmidd.compute.kept import KeptTraining, load_trained, train_all_kept
from cmidd.compute.recipe import TrainingRecipe, stated
from cmidd.compute.together import how_many_at_once
from cmidd.compute.training import accuracy, refuse_diverged
from cmidd.core.context import Context
from cmidd.networks import Network
from cmidd.utils import cache, clock, files, locks, tensor_files
from cmidd.utils.checking import validate
from cmidd.utils.errors import SettingError
from cmidd.utils.random_streams import Streams
from cmidd.utils.text import duration, summary


class TeacherAccuracy(TypedDict):
    accuracy: Annotated[float, Field(strict=True, ge=0, le=100)]


log = logging.getLogger(__name__)
MOST_TESTED = 20  # teachers from files; one ResNet18 takes a minute for CIFAR10's test set on two cores


def teacher_recipe(epochs: int) -> TrainingRecipe:
    """CMIDD/pretrain/pre_model.py: SGD 0.01, momentum 0.9, weight decay 1e-3, batch 256, no augmentation."""
    return TrainingRecipe(epochs=epochs, lr=0.01, momentum=0.9, weight_decay=1e-3, batch=256)


def pool_files(context: Context, name: str, size: int, recipe: TrainingRecipe) -> tuple[dict[str, Any], list[Path]]:
    """What makes a pool of ``size`` teachers, and the file of each.

    Raises:
        SettingError: when the folder holds others.
    """
    made_by = {**context.made_by, "network": context.options_of(name), "training": stated(recipe)}
    names = [f"teacher_{index:03d}.safetensors" for index in range(size)]
    return made_by, cache.members(context.buffers / "teachers", f"{context.data.name}_{name}", made_by, names)


class TeacherPool:
    """Frozen networks in memory, trained on first use and kept as safetensors under ``buffers/teachers``.

    ``changes`` are those to :func:`teacher_recipe`. A file's header says what made it and, unless it is of an earlier
    version, how accurate the network is on the held-out split.
    """

    networks: list[Network]  # Where a GPU has not room for all, on the host: ``at`` is for using them.
    shelf: Shelf
    about: dict[str, Any]  # what the record says of the pool

    def __init__(self, context: Context, name: str, size: int, epochs: int, **changes: Any) -> None:
        recipe = replace(teacher_recipe(epochs), **changes)
        made_by, paths = pool_files(context, name, size, recipe)
        folder = paths[0].parent

        def make(indices: list[int]) -> None:
            began, kept = time.monotonic(), []
            for index in indices:
                log.info("training teacher %d/%d (%s, %d epochs)", index + 1, size, name, epochs)
                streams = Streams(0).child("teacher", index)
                network = context.new_network(streams("network"), name)
                kept.append(KeptTraining(network, streams, files.unfinished(paths[index])))
            several = "" if len(indices) == 1 else f" and {len(indices) - 1} more at once"
            what = f"teacher {indices[0] + 1}/{size}{several}"
            train_all_kept(kept, context.data.train, recipe, what=what, made_by=made_by)
            for index, one in zip(indices, kept, strict=True):
                trained, what = one.network, f"teacher {index + 1}/{size}"
                refuse_diverged(trained.parameters(), f"cmi.epochs={epochs}", f"training {what} ({name})")
                tested = {"accuracy": accuracy(trained, context.data.test), "tested_on": context.data.held_out}
                tensor_files.write_tensors(paths[index], trained.state_dict(), {"made_by": made_by, **tested})
                taken = duration(time.monotonic() - began)
                log.info("%s: %.2f per cent on %s, in %s", what, tested["accuracy"], context.data.held_out, taken)

        cache.describe(paths, made_by)
        with clock.timed("teachers"):
            if not all(path.exists() for path in paths):
                at_once = how_many_at_once(context.blank_network(name), recipe, context.data.train)
                locks.make_missing(paths, make, at_once=at_once)
        self.networks, self.shelf, accuracies = [], Shelf(paths, context.data.device), []
        for path in paths:
            files.remove_unfinished(path)
            network = context.new_network(torch.Generator(), name).to(self.shelf.home)
            about = load_trained(network, path, made_by)
            self.networks.append(self.shelf.keep(network))
            accuracies += [about["accuracy"]] if "accuracy" in about else []
        tested = f"accuracy on {context.data.held_out} {summary(accuracies)}" if accuracies else "accuracy not measured"
        log.info("%d teachers in %s, %s", size, folder, tested)
        self.about = {
            **{"network": name, "count": size, "epochs": epochs, "weight_decay": recipe.weight_decay},
            **{"tested_on": context.data.held_out, "accuracies": accuracies},
        }

    def draw(self, generator: torch.Generator) -> Network:
        """One teacher, uniformly at random."""
        return self.at(int(torch.randint(len(self.networks), (1,), generator=generator)))

    def at(self, index: int) -> Network:
        """The teacher of a number, on the device."""
        return self.shelf.lend(self.networks[index])


class FilePool(TeacherPool):
    """Frozen networks whose state dicts somebody gives (``cmi.teachers``).

    The accuracy of the first of them, :data:`MOST_TESTED` at most, is measured on the held-out split, each once: it is
    kept under ``buffers/teachers/accuracies``.
    """

    def __init__(self, context: Context, name: str, size: int, source: teacher_files.TeacherFiles) -> None:
        if source.path is None:
            raise SettingError("teachers: those of this run were read from files; give teachers=<their folder>")
        paths = teacher_files.paths_of(source.path)[:size]
        teacher_files.warn_of_other_data(paths, context.data_key)
        self.networks, self.shelf, contents = [], Shelf(paths, context.data.device), []
        for path in paths:
            state, options = teacher_files.read_state(path)
            network, own = teacher_files.fitted(path, state, options, name, context.data, context.network)
            network.to_empty(device=self.shelf.home).load_state_dict(own)
            self.networks.append(self.shelf.keep(network))
            contents.append(teacher_files.content_of(state))
        if teacher_files.content_of_all(contents) != source.content:
            raise SettingError(
                f"cmi.teachers={source.path}: not the networks that the run was made with; put these there"
            )
        tested = enumerate(contents[:MOST_TESTED])
        accuracies = [self._accuracy(context, name, self.at(number), content) for number, content in tested]
        log.info(
            "%d teachers from %s, accuracy on %s: %s", size, source.path, context.data.held_out, summary(accuracies)
        )
        self.about = {
            **{"network": name, "count": size, "content": source.content},
            **{"tested_on": context.data.held_out, "accuracies": accuracies},
        }

    @staticmethod
    def _accuracy(context: Context, name: str, network: Network, content: str) -> float:
        made_by = {**context.made_by, "network": name, "content": content}
        path = cache.kept(context.buffers / "teachers" / "accuracies", "", ".json", made_by)

        def make(_: list[int]) -> None:
            measured = accuracy(network, context.data.test)
            files.write_json(path, {"accuracy": measured, "made_by": made_by})

        locks.make_missing([path], make)
        found: float = validate(path, files.read_json(path), TeacherAccuracy)["accuracy"]
        return found


class TeacherPools:
    """The pools of a run, each made when first asked for: CMI's, and those of regularisers that train theirs otherwise.

    Called with changes to the recipe of CMI's teachers, as in ``teachers(weight_decay=5e-4)``, it returns the pool that
    was trained so; whoever asks for the same gets the same. Teachers from files are everybody's.
    """

    def __init__(
        self, context: Context, name: str, size: int, epochs: int, files: teacher_files.TeacherFiles | None = None
    ) -> None:
        self.context, self.name, self.size, self.epochs, self.files = context, name, size, epochs, files
        self._pools: dict[str, TeacherPool] = {}

    def __call__(self, **changes: Any) -> TeacherPool:
        key = "" if self.files else str(replace(teacher_recipe(self.epochs), **changes))
        if key not in self._pools:
            if self.files:
                self._pools[key] = FilePool(self.context, self.name, self.size, self.files)
            else:
                self._pools[key] = TeacherPool(self.context, self.name, self.size, self.epochs, **changes)
        return self._pools[key]

    @property
    def about(self) -> list[dict[str, Any]]:
        """What the record says of every pool that was asked for."""
        return [pool.about for pool in self._pools.values()]
