"""Which real images an objective sees, by the name of their config file."""

from cmidd.samplers.base import RandomSampler, Sampler

__all__ = ["SAMPLERS", "RandomSampler", "Sampler"]

SAMPLERS: dict[str, type[Sampler]] = {"random": RandomSampler}
