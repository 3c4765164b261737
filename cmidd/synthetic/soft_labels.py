"""Soft labels: what a synthetic set is trained on instead of one class an image."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cmidd.utils.errors import SettingError

Kind = Literal["logits", "probabilities"]
SUMS_TO = 1e-3  # how far a row of probabilities may be from a sum of one


@dataclass
class SoftLabels:
    """Soft labels ``values`` ``[N, C]`` float32, and what they are."""

    values: Tensor
    kind: Kind

    @classmethod
    def told_by_values(cls, values: Tensor) -> "SoftLabels":
        """Labels ``[N, C]`` of a file that does not say what they are: probabilities where every row has no negative
        number and a sum of one, otherwise logits.
        """
        sums = values.sum(1)
        probabilities = bool((values >= 0).all()) and bool(((sums - 1).abs() <= SUMS_TO).all())
        return cls(values, "probabilities" if probabilities else "logits")

    @property
    def logits(self) -> Tensor:
        """``[N, C]``: the values, or the logarithms of probabilities, whose softmax they are."""
        if self.kind == "logits":
            return self.values
        return self.values.clamp(min=torch.finfo(self.values.dtype).tiny).log()

    @property
    def hard(self) -> Tensor:
        """The class ``[N]`` that each row names first."""
        return self.values.argmax(1)

    def of_classes(self, numbers: Tensor) -> "SoftLabels":
        """The same where class c is counted as ``numbers[c]`` (``[C]``, each number once)."""
        return SoftLabels(self.values[:, numbers.to(self.values.device).argsort()], self.kind)

    def check(self, images: int, classes: int, where: str) -> None:
        """Refuse labels that do not fit a set.

        Raises:
            SettingError: when their shape is another, a number is not finite, or probabilities are none.
        """
        if list(self.values.shape) != [images, classes]:
            raise SettingError(
                f"{where}: soft labels {list(self.values.shape)} for {images} images of {classes} classes; expected "
                f"{[images, classes]}"
            )
        if not self.values.isfinite().all():
            raise SettingError(f"{where}: soft labels with numbers that are not finite; give another file")
        if self.kind == "probabilities" and SoftLabels.told_by_values(self.values).kind != "probabilities":
            raise SettingError(
                f"{where}: soft labels that are no probabilities; each row sums to one, none is negative"
            )
