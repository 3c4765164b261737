"""The command line, and the one room that knows Hydra; commands/ has one file for each.

Imports every other room.
"""
