"""One run from settings to DONE: checked, built, distilled in stages, evaluated, recorded.

Imports every room but analysis, bench and cli.
"""
