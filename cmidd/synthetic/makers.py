"""The methods whose sets others publish, one row each: what their files leave unsaid.

Nothing heavy is imported here: the words are checked before torch is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Maker:
    """What makes a set of others.

    Attributes:
        method: our method under whose recipes such a set is evaluated.
        protocol: which of ``configs/evaluation`` it is published with; None: the method's own.
        dataset: what its code says of the data set where the recipe says otherwise.
        statistics: by data set, whose channel statistics its code normalises with where the recipe says others.
        networks: settings of networks, by their names, that its code has where they are others by themselves.
    """

    method: str
    protocol: str | None = None
    dataset: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, str] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


BATCH_NORM = {name: {"norm": "batchnorm"} for name in ("convnet", "resnet18")}

MAKERS = {
    **{name: Maker(name, name) for name in ("dc", "dsa", "dm", "mtt", "idc", "idm")},
    "datm": Maker("datm", "datm", {"zca": True}),  # in all of its configs
    **{name: Maker("mtt", "mtt") for name in ("tesla", "ftd", "att", "pdd", "seqmatch", "haba")},
    **{name: Maker("dm", "dm") for name in ("datadam", "glad", "ld3m")},
    "dream": Maker("idc", "idc"),
    "ncfm": Maker("ncfm", "ncfm"),
    # validation/main.py:111-113, for all of its data sets; synthesize/utils.py:169-208
    "rded": Maker("dm", "rded", statistics={"cifar10": "imagenet", "cifar100": "imagenet"}, networks=BATCH_NORM),
    # *small_dataset/relabel_cifar.py:54-61, 77
    "sre2l": Maker("dm", "sre2l", statistics={"cifar100": "cifar10"}, networks=BATCH_NORM),
    "kip": Maker("dm"),
    "frepo": Maker("dm"),
}
