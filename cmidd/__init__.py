"""cmidd: dataset distillation with class-aware conditional mutual information.

import cmidd

run = cmidd.distill(method="dm", dataset="digits", ipc=10)
run.synthetic.show()
cmidd.evaluate(run, networks=["convnet", "resnet18"])
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmidd.cli.api import (
        Dataset,
        Run,
        SettingError,
        SyntheticSet,
        distill,
        evaluate,
        load_dataset,
        load_synthetic,
    )

__version__ = "0.1.0"
__all__ = [
    "Dataset",
    "Run",
    "SettingError",
    "SyntheticSet",
    "__version__",
    "distill",
    "evaluate",
    "load_dataset",
    "load_synthetic",
]


def __getattr__(name: str) -> Any:
    """What is public, imported when it is asked for: torch and Hydra take seconds, and help needs neither."""
    if name in __all__:
        from cmidd.cli import api

        return getattr(api, name)
    raise AttributeError(f"module 'cmidd' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
