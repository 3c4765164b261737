"""Evaluate a synthetic set on other networks: ``python scripts/evaluate.py synthetic=FILE network=[convnet,vgg11]``."""

from typing import Any

from cmidd.cli import compose, hydra_app
from cmidd.cross_architecture import cross_architecture, load_subject, read_evaluation
from cmidd.devices import pick_device


def main(config: dict[str, Any]) -> None:
    settings = read_evaluation(config)
    cross_architecture(settings, load_subject(settings, compose, pick_device(settings.device)))


if __name__ == "__main__":
    hydra_app(main, "standalone/evaluate")
