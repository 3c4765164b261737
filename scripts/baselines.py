"""Measure baselines alone: ``python scripts/baselines.py method=dm dataset=cifar10 'evaluation.baselines=[whole]'``."""

from cmidd.cli.commands.baselines import main

if __name__ == "__main__":
    main()
