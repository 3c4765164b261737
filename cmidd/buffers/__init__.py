"""Buffers, trained once and kept on disk: expert trajectories, and pools of teachers.

Imports core and what is below.
"""
