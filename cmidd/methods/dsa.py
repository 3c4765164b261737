"""DSA, gradient matching with siamese augmentation (Zhao & Bilen, ICML 2021)."""

from cmidd.methods.dc import DC


class DSA(DC):
    """DC on augmented images, real and synthetic ones of a class alike: other values of ``augment`` and ``init``."""
