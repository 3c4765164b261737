"""Does a network do what its interface says? Asked once of each, for whoever writes one."""

import copy
import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from cmidd.networks._copies import empty_copy
from cmidd.networks._network import Network
from cmidd.utils.errors import SettingError, reason


def refuse_signature(name: str, kind: type[Network]) -> None:
    """Refuse a network that asks for more than the shape of images and the number of classes.

    Raises:
        SettingError: naming what it asks for.
    """
    asked = [p for p in inspect.signature(kind).parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    if more := [p.name for p in asked[2:] if p.default is p.empty]:
        raise SettingError(
            f"network={name}: {kind.__name__} asks for {', '.join(more)} beside image_shape and num_classes; settings "
            "stand behind a *, each with a default"
        )


def refuse_unfit(name: str, network: Network, image_shape: tuple[int, ...], num_classes: int) -> None:
    """Refuse a blank network that does not take such images, or does not return what its interface says.

    Raises:
        SettingError: saying what it does instead.
    """
    if any(is_lazy(parameter) for parameter in network.parameters()):
        raise SettingError(f"network={name}: has lazy layers, whose size nobody can tell; give in_features or the like")
    if not isinstance(getattr(network, "classifier", None), nn.Module):
        raise SettingError(f"network={name}: has no classifier, the layer that makes logits of what embed returns")
    shape = "x".join(map(str, image_shape))
    try:
        with torch.device("meta"), torch.no_grad():
            images, looked_at = torch.empty(2, *image_shape), copy.deepcopy(network)  # It may keep what it computes.
            features, logits = looked_at.embed(images), looked_at(images)
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        if "meta" in str(error):  # It looks at numbers, which these are not.
            return
        raise SettingError(f"network={name}: takes no images of {shape} ({reason(error)}); choose another") from error
    for what, made, expected in (("embed", features, "[2, D]"), ("forward", logits, f"[2, {num_classes}]")):
        fits = isinstance(made, Tensor) and made.dim() == 2 and len(made) == 2
        if not fits or (what == "forward" and made.shape[1] != num_classes):
            said = list(made.shape) if isinstance(made, Tensor) else f"a {type(made).__name__}"
            raise SettingError(
                f"network={name}: {what} returns {said} for 2 images of {shape} and {num_classes} classes, "
                f"{expected} is expected; mend it"
            )


def refuse_unfilled(name: str, network: Network) -> None:
    """Refuse a network whose ``initialise`` leaves tensors as they were: they would hold what was in memory.

    Raises:
        SettingError: naming them.
    """
    loose = [key for module in network.modules() for key, value in vars(module).items() if isinstance(value, Tensor)]
    if loose:
        raise SettingError(
            f"network={name}: its tensor {loose[0]} is neither parameter nor buffer; register_buffer it, and fill it "
            "in initialise(self, generator)"
        )
    first, second = (dict(_filled(network, value)) for value in (0, 1))
    if unset := [key for key, tensor in first.items() if not torch.equal(tensor, second[key])]:
        again = dict(_filled(network, 0))
        if drawn := [key for key in unset if not torch.equal(first[key], again[key])]:
            raise SettingError(
                f"network={name}: initialise fills {', '.join(drawn)} with other numbers each time; give what draws "
                "them generator=generator, so that a seed says them"
            )
        raise SettingError(
            f"network={name}: initialise does not fill {', '.join(unset)}, for it knows the layers of torch alone; "
            "override initialise(self, generator) to fill these as well"
        )


def _filled(network: Network, value: int) -> list[tuple[str, Tensor]]:
    """The tensors of a copy that held ``value`` before it was initialised."""
    copy = empty_copy(network)
    tensors: list[tuple[str, Any]] = [*copy.named_parameters(), *copy.named_buffers()]
    with torch.no_grad():
        for _, tensor in tensors:
            tensor.fill_(value)
    copy.initialise(torch.Generator().manual_seed(0))
    return tensors
