"""Building a network by its name, with its weights drawn from an explicit generator."""

from typing import Any, TypeAlias

import torch

from cmidd.networks._copies import empty_copy
from cmidd.networks._fit import refuse_signature, refuse_unfilled, refuse_unfit
from cmidd.networks._network import Network
from cmidd.utils.errors import SettingError
from cmidd.utils.plugins import Plugins
from cmidd.utils.transfer import to_device

NETWORKS: Plugins[type[Network]] = Plugins("cmidd.networks", Network)
MOST_PARAMETERS = 2 * 10**9
Key: TypeAlias = tuple[Any, ...]


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
    if (key := _key(name, image_shape, num_classes, options)) is None:
        return blank_network(name, image_shape, num_classes, **options)
    if key not in _structures:
        blank = blank_network(name, image_shape, num_classes, **options)
        refuse_unfilled(name, blank)
        _structures[key] = blank
    return _structures[key]


def _key(name: str, image_shape: tuple[int, int, int], num_classes: int, options: dict[str, Any]) -> Key | None:
    """What a structure depends on; None where an option has no hash."""
    key = NETWORKS.get(name), tuple(image_shape), num_classes, tuple(sorted(options.items()))
    try:
        hash(key)
    except TypeError:
        return None
    return key


_structures: dict[Key, Network] = {}
_fitting: set[Key] = set()  # of networks that were looked at, which takes longer than to make them


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
    if (key := _key(name, image_shape, num_classes, options)) not in _fitting:
        refuse_unfit(name, network, image_shape, num_classes)
        _fitting.update([] if key is None else [key])
    if (size := sum(parameter.numel() for parameter in network.parameters())) > MOST_PARAMETERS:
        raise SettingError(
            f"network={name}: has {size:,} parameters for images of {'x'.join(map(str, image_shape))}, at most "
            f"{MOST_PARAMETERS:,} are trained; choose a smaller network.width, or smaller images"
        )
    return network
