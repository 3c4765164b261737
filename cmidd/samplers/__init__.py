"""Which real images an objective sees, by the name of their config file."""

from cmidd.samplers.base import RandomSampler, Sampler
from cmidd.samplers.dream import DREAM

__all__ = ["SAMPLERS", "RandomSampler", "Sampler"]

SAMPLERS: dict[str, type[Sampler]] = {"random": RandomSampler, "dream": DREAM}
