"""The distance of two samples by their characteristic functions (NCFM)."""

import torch
from torch import Tensor

FLOOR = 1e-12  # below which the published code holds twice the phase term


def characteristic_discrepancy(
    real: Tensor, synthetic: Tensor, frequencies: Tensor, amplitude: float = 0.5, phase: float = 0.5
) -> Tensor:
    """Mean over the frequencies ``t`` of ``sqrt(alpha (|f| - |g|)^2 + beta 2 (|f||g| - Re f conj(g)))``, a scalar.

    f(t) is the mean of exp(i t.x) over the ``real`` features, g(t) that over the ``synthetic`` ones. The phase term is
    a difference of nearly equal numbers; ``|f - g|^2 - (|f| - |g|)^2`` is the same, and so the root is taken of
    ``beta |f - g|^2 + (alpha - beta) (|f| - |g|)^2``, whose gradient keeps its digits in float32.

    Args:
        real, synthetic: features ``[M, D]`` and ``[N, D]``.
        frequencies: ``[F, D]``.
        amplitude, phase: the weights alpha and beta.
    """
    f, g = (_characteristic_function(features, frequencies) for features in (real, synthetic))
    apart = _length(f) - _length(g)
    lengths, distance = apart.square(), (f - g).square().sum(0)
    root = phase * distance + (amplitude - phase) * lengths
    floored = amplitude * lengths + phase * FLOOR
    return torch.where(distance - lengths > FLOOR, root.clamp(min=phase * FLOOR), floored).sqrt().mean()


def _characteristic_function(features: Tensor, frequencies: Tensor) -> Tensor:
    """Real and imaginary part ``[2, F]`` of the mean of exp(i t.x)."""
    angles = features @ frequencies.T
    return torch.stack([angles.cos().mean(0), angles.sin().mean(0)])


def _length(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values, dim=0)
