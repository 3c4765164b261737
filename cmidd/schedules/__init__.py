"""Schedules, by name: which part of a set is trained when; each file is one.

Imports evaluation, core and what is below.
"""

from cmidd.core.schedule import Schedule
from cmidd.utils.plugins import Plugins

SCHEDULES: Plugins[type[Schedule]] = Plugins("cmidd.schedules", Schedule)
