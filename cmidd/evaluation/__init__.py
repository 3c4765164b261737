"""The worth of a set: networks trained on it and tested, beside baselines, by a protocol.

Imports core and what is below.
"""
