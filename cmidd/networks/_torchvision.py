"""Networks of torchvision, as teachers: an embedding and the linear layer that classifies it."""

import torch
from torch import Tensor, nn

from cmidd.networks._network import Network
from cmidd.utils.errors import SettingError, reason

TORCHVISION = "torchvision/"


class OfTorchvision(Network):
    """A classifier of torchvision whose embedding is what its last linear layer gets.

    Its tensors are those of torchvision under other names: see :meth:`saved_as`.
    """

    def __init__(self, name: str, num_classes: int) -> None:
        super().__init__()
        import torchvision

        model = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
        self.head, linear = [(where, part) for where, part in model.named_modules() if isinstance(part, nn.Linear)][-1]
        above, _, last = self.head.rpartition(".")
        setattr(model.get_submodule(above), last, nn.Identity())
        self.body, self.classifier = model, linear

    def embed(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(images)
        return features

    def saved_as(self, name: str) -> str:
        """What torchvision calls a tensor of our state dict."""
        part, _, rest = name.partition(".")
        return rest if part == "body" else f"{self.head}.{rest}"


def blank_of_torchvision(name: str, image_shape: tuple[int, int, int], num_classes: int) -> OfTorchvision:
    """``torchvision/<name>`` without numbers.

    Raises:
        SettingError: when torchvision has no such classifier, or it does not take such images.
    """
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    own = name.removeprefix(TORCHVISION)
    if own not in known:
        raise SettingError(f"cmi.teacher={name}: unknown; choose one of {', '.join(known)} of torchvision")
    shape = "x".join(map(str, image_shape))
    try:
        with torch.device("meta"), torch.no_grad():
            network = OfTorchvision(own, num_classes)
            features = network.eval().embed(torch.empty(2, *image_shape))
        if features.shape != (2, network.classifier.in_features):
            raise ValueError("what comes before its last linear layer is no vector")
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        why = reason(error)
        raise SettingError(f"cmi.teacher={name}: takes no images of {shape} ({why}); choose another") from error
    return network
