"""The real images of a baseline: random ones, or those that a rule chooses in a network's features."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from cmidd.compute.embeddings import embed_real
from cmidd.core.context import Context
from cmidd.evaluation.coresets import herding, k_centre, k_means, most_forgotten
from cmidd.evaluation.feature_networks import feature_networks
from cmidd.evaluation.protocols import EvaluationProtocol, Kind
from cmidd.utils import cache, locks, tensor_files
from cmidd.utils.random_streams import Streams

log = logging.getLogger(__name__)
KINDS: tuple[Kind, ...] = get_args(Kind)
# Of the features [N, D] of a class's images, or of how often each was forgotten [N], how many, and random numbers.
RULES: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "herding": lambda features, count, _: herding(features, count),
    "kcenter": k_centre,
    "forgetting": lambda forgotten, count, _: most_forgotten(forgotten, count),
    "kmeans": k_means,
}
DRAWING = ("random", "kcenter", "kmeans")  # The kinds that choose other images each time.


def number_of_sets(protocol: EvaluationProtocol, ipc: int, kind: str) -> int:
    """How many sets of images there are; network r is trained on set r modulo this number.

    A kind that draws random numbers has a set for each network that is trained; the others have one for each network in
    whose features they choose, and so has k-means with a single centre.
    """
    drawing = kind in DRAWING and (kind, ipc) != ("kmeans", 1)
    return protocol.repeats if drawing else protocol.features.networks


def chosen_images(context: Context, protocol: EvaluationProtocol, ipc: int, kind: str) -> Tensor:
    """Indices ``[sets, classes * ipc]`` into the training images, classes in order; those that a rule chooses are kept
    under ``buffers/baselines/sets``, whatever is trained on them.

    Set s is chosen in the features of network s modulo ``protocol.features.networks``.
    """
    count = number_of_sets(protocol, ipc, kind)
    if kind not in RULES:
        draws = (Streams(0).child(kind).child("draw", number)("images") for number in range(count))
        return torch.stack([context.data.drawn(ipc, draw) for draw in draws])
    path, made_by = sets_file(context, protocol, ipc, kind)

    def make(_: list[int]) -> None:
        chosen = _choose(context, protocol, ipc, kind)
        tensor_files.write_tensors(path, {"images": chosen}, {"made_by": made_by})

    locks.make_missing([path], make)
    cache.check_tensors([path], {"images": [count, context.data.num_classes * ipc]}, made_by)
    return tensor_files.read_tensors(path)[0]["images"]


def sets_file(context: Context, protocol: EvaluationProtocol, ipc: int, kind: str) -> tuple[Path, dict[str, Any]]:
    """Where the images that a rule chose are kept, and what they depend on."""
    made_by = {**context.made_by, "network": context.network, "features": asdict(protocol.features)}
    made_by |= {"data": context.data_key, "kind": kind, "sets": number_of_sets(protocol, ipc, kind), "ipc": ipc}
    folder, stem = context.buffers / "baselines" / "sets", f"{context.data.name}_{kind}_"
    return cache.kept(folder, stem, ".safetensors", made_by), made_by


def _choose(context: Context, protocol: EvaluationProtocol, ipc: int, kind: str) -> Tensor:
    """As :func:`chosen_images`: of every network the features of one class at a time."""
    data, streams, count = context.data, Streams(0).child(kind), number_of_sets(protocol, ipc, kind)
    networks = feature_networks(context, protocol.features)
    sets: list[list[Tensor]] = [[] for _ in range(count)]
    log.info("choosing %d x %d images per class: %s", count, ipc, kind)
    for first, watched in enumerate(networks):
        for label, members in enumerate(data.class_members):
            here = members.to(data.device)
            if kind == "forgetting":
                features = watched.forgotten[here]
            else:
                features = embed_real(watched.network, data.train.subset(here))
            for number in range(first, count, len(networks)):
                order = RULES[kind](features, ipc, streams("set", number, label))
                sets[number].append(members[data.first(order.cpu(), ipc)])
    return torch.stack([torch.cat(own) for own in sets])
