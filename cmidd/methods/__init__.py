"""Distillation methods, by name; each file is one.

Imports buffers, core and what is below.
"""

from cmidd.core.method import Method
from cmidd.utils.plugins import Plugins

METHODS: Plugins[type[Method]] = Plugins("cmidd.methods", Method)
