"""Regularisers, by name: terms that are added to any method's loss; each file is one.

Imports core and what is below.
"""

from cmidd.core.regularizer import Regularizer
from cmidd.utils.plugins import Plugins

REGULARIZERS: Plugins[type[Regularizer]] = Plugins("cmidd.regularizers", Regularizer)
