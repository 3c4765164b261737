"""The loop that steps a synthetic set: state, checkpoints, rollback, weights of terms, divergence.

Imports core and what is below; never a plug-in.
"""
