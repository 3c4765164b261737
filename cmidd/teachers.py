"""The pool of pre-trained networks in whose feature space CMI is measured (methods.md sections 2 and 7)."""

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch

from cmidd import files
from cmidd.caches import check_tensors, refuse_others
from cmidd.networks import Network
from cmidd.streams import Streams
from cmidd.training import TrainingRecipe, refuse_diverged, train_kept

if TYPE_CHECKING:
    from cmidd.objectives.base import Context

log = logging.getLogger(__name__)


def teacher_recipe(epochs: int) -> TrainingRecipe:
    """CMIDD/pretrain/pre_model.py: SGD 0.01, momentum 0.9, weight decay 1e-3, batch 256, no augmentation."""
    return TrainingRecipe(epochs=epochs, lr=0.01, momentum=0.9, weight_decay=1e-3, batch=256)


class TeacherPool:
    """Frozen networks in memory, trained on first use and kept as safetensors under ``buffers/teachers``."""

    def __init__(self, context: "Context", name: str, size: int, epochs: int) -> None:
        self.streams = context.streams
        recipe = teacher_recipe(epochs)
        options = context.network if name == context.network["name"] else {"name": name}
        made_by = {**context.made_by, "network": options, "training": asdict(recipe)}
        folder = context.buffers / "teachers" / f"{context.data.name}_{name}_{files.fingerprint(made_by)}"
        refuse_others(folder, made_by)
        paths = [folder / f"teacher_{index:03d}.safetensors" for index in range(size)]

        def make(index: int) -> None:
            log.info("training teacher %d of %d into %s", index + 1, size, folder)
            streams = Streams(0).child("teacher", index)
            network = context.new_network(streams("network"), name)
            what = f"teacher {index + 1}/{size}"
            keep = files.unfinished(paths[index])
            train_kept(network, context.data.train, recipe, streams, what=what, keep=keep, made_by=made_by)
            refuse_diverged(network.parameters(), f"cmi.epochs={epochs}", f"training {what} ({name})")
            files.write_tensors(paths[index], network.state_dict(), {"made_by": made_by})

        if not all(path.exists() for path in paths):
            files.write_json(folder / "settings.json", made_by)
        files.make_missing(paths, make)
        self.networks: list[Network] = []
        for path in paths:
            files.remove_unfinished(path)
            network = context.new_network(torch.Generator(), name)
            check_tensors([path], {key: list(value.shape) for key, value in network.state_dict().items()}, made_by)
            network.load_state_dict(files.read_tensors(path)[0])
            self.networks.append(network.eval().requires_grad_(False))

    def draw(self, generator: torch.Generator) -> Network:
        """One teacher, uniformly at random."""
        return self.networks[int(torch.randint(len(self.networks), (1,), generator=generator))]
