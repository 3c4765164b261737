"""Building a network by its name, with its weights drawn from an explicit generator."""

from typing import Any

import torch

from cmidd.networks._copies import empty_copy
from cmidd.networks._fit import refuse_signature, refuse_unfilled, refuse_unfit
from cmidd.networks._network import Network
from cmidd.utils.errors import SettingError
from cmidd.utils.plugins import Plugins
from cmidd.utils.transfer import to_device

NETWORKS: Plugins[type[Network]] = Plugins("cmidd.networks", Network)
MOST_PARAMETERS = 2 * 10**9


def build_network(
    name: str,
    image_shape: tuple[int, int, int],
    num_classes: int,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Network:
    """A new network for images ``[C, H, W]``, initialised as PyTorch does by default.

    Raises:
        SettingError: as :func:`blank_network`.
    """
    network = empty_copy(_structure(name, image_shape, num_classes, options))
    network.initialise(generator)
    tensors = [*network.parameters(), *network.buffers()]
    for tensor, copy in zip(tensors, to_device([each.detach() for each in tensors], torch.device(device)), strict=True):
        tensor.data = copy
    return network


def _structure(name: str, image_shape: tuple[int, int, int], num_classes: int, options: dict[str, Any]) -> Network:
    """A blank network, made once: a method makes thousands of the same."""
    key = NETWORKS.get(name), tuple(image_shape), num_classes, tuple(sorted(options.items()))
    try:
        is_known = key in _structures
    except TypeError:  # An option that has no hash.
        return blank_network(name, image_shape, num_classes, **options)
    if not is_known:
        blank = blank_network(name, image_shape, num_classes, **options)
        refuse_unfilled(name, blank)
        _structures[key] = blank
    return _structures[key]


_structures: dict[tuple[Any, ...], Network] = {}


def blank_network(name: str, image_shape: tuple[int, int, int], num_classes: int, **options: Any) -> Network:
    """A network without numbers, which costs nothing: does it fit such images?

    Raises:
        SettingError: for an unknown name, a network that such images do not fit, or one that is none.
    """
    if name not in NETWORKS:
        raise SettingError(f"network={name}: unknown; choose one of {', '.join(sorted(NETWORKS))}")
    refuse_signature(name, NETWORKS[name])
    try:
        with torch.device("meta"):
            network = NETWORKS[name](image_shape, num_classes, **options)
    except SettingError:
        raise
    except (RuntimeError, ValueError) as error:  # of a layer that cannot be so
        words = " ".join(f"network.{option}={value}" for option, value in options.items())
        raise SettingError(f"network={name}: {words}: {error}; choose others") from error
    refuse_unfit(name, network, image_shape, num_classes)
    if (size := sum(parameter.numel() for parameter in network.parameters())) > MOST_PARAMETERS:
        raise SettingError(
            f"network={name}: has {size:,} parameters for images of {'x'.join(map(str, image_shape))}, at most "
            f"{MOST_PARAMETERS:,} are trained; choose a smaller network.width, or smaller images"
        )
    return network
