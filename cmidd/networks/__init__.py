"""The zoo of networks, by name; each file is one, and any other room may use it.

Imports utils only.
"""

from cmidd.networks._build import NETWORKS, blank_network, build_network
from cmidd.networks._network import Network, normalization, require_side
from cmidd.networks._torchvision import TORCHVISION, OfTorchvision, blank_of_torchvision

__all__ = [
    "NETWORKS",
    "TORCHVISION",
    "Network",
    "OfTorchvision",
    "blank_network",
    "blank_of_torchvision",
    "build_network",
    "normalization",
    "require_side",
]
