"""Evaluate synthetic sets, ours or another's: train networks on them from scratch, and test these.

The settings are those of a run. A set of ours says how it was made and how networks are trained on it; what you type
overrides that.

Examples:
    cmidd evaluate synthetic=results/digits/mtt/ipc10/cmi0.1/seed0
    cmidd evaluate synthetic=<run> 'networks=[convnet,alexnet,vgg11,resnet18]' evaluation.repeats=10
    cmidd evaluate 'synthetic=[<run>,<another>]' evaluation=dsa evaluation.tests=10 # one table
    cmidd evaluate synthetic=images_best.pt method=mtt dataset=cifar10 dataset.zca=true evaluation.training.lr=0.02
"""

from cmidd.analysis.evaluations.evaluate import evaluate_sets
from cmidd.analysis.evaluations.settings import read_evaluation
from cmidd.cli.compose import Composition, compose_evaluation


def main(chosen: Composition) -> None:
    """Evaluate every set that was chosen on every network."""
    evaluate_sets(read_evaluation(chosen.settings, chosen.words, compose_evaluation))
