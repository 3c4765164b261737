"""Real images: published data sets and the user's own, preprocessed, as tensors; augmentation.

Imports utils.
"""
