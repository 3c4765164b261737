"""cmidd: dataset distillation with class-aware conditional mutual information."""

from cmidd.synthetic import SyntheticSet, load_synthetic

__all__ = ["SyntheticSet", "load_synthetic"]
