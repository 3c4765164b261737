"""Evaluate a synthetic set on other networks: ``python scripts/evaluate.py synthetic=RUN 'network=[convnet,mlp]'``."""

from typing import Any

from cmidd.analysis.cross_architecture import cross_architecture, load_subject, read_evaluation
from cmidd.cli.app import hydra_app
from cmidd.cli.compose import compose
from cmidd.compute.devices import pick_device


def main() -> None:
    """Run the command."""
    hydra_app(evaluate, "evaluate")


def evaluate(config: dict[str, Any]) -> None:
    """Evaluate a set on every network of a config."""
    settings = read_evaluation(config)
    cross_architecture(settings, load_subject(settings, compose, pick_device(settings.device)))
