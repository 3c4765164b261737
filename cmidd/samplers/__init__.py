"""Samplers, by name: the choice of real images; each file is one.

Imports core and what is below.
"""

from cmidd.core.sampler import Sampler
from cmidd.utils.plugins import Plugins

SAMPLERS: Plugins[type[Sampler]] = Plugins("cmidd.samplers", Sampler)
