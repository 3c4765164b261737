"""Evaluate a synthetic set, ours or another's: networks are trained on it from scratch and tested.

Examples:
    cmidd evaluate synthetic=results/digits/mtt/ipc10/cmi0.1/seed0
    cmidd evaluate synthetic=<run> 'network=[convnet,alexnet,vgg11,resnet18]' repeats=5
    cmidd evaluate synthetic=images_best.pt method=mtt dataset=cifar10 zca=true training.lr=0.02 # of the reference
    cmidd evaluate synthetic=<folder of PNGs> method=dm dataset=cifar10
"""

from typing import Any

from cmidd.analysis.cross_architecture import cross_architecture, load_subject, read_evaluation
from cmidd.cli.compose import compose
from cmidd.compute.devices import pick_device


def main(config: dict[str, Any]) -> None:
    """Evaluate a set on every network of a config."""
    settings = read_evaluation(config)
    cross_architecture(settings, load_subject(settings, compose, pick_device(settings.device)))
