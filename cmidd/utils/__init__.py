"""Tools that know nothing of distillation: files, locks, checks of settings, plug-ins, random streams.

Imports no other room.
"""
