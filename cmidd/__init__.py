"""cmidd: dataset distillation with class-aware conditional mutual information."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmidd.synthetic.load import load_synthetic
    from cmidd.synthetic.synthetic_set import SyntheticSet

__all__ = ["SyntheticSet", "__version__", "load_synthetic"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """What is public, imported when it is asked for: torch takes seconds, and help needs none."""
    if name == "load_synthetic":
        from cmidd.synthetic.load import load_synthetic

        return load_synthetic
    if name == "SyntheticSet":
        from cmidd.synthetic.synthetic_set import SyntheticSet

        return SyntheticSet
    raise AttributeError(f"module 'cmidd' has no attribute {name!r}")
