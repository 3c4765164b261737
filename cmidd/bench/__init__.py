"""Seconds, memory and floors of every method, on random images.

Imports runs and what is below.
"""
