"""Train the expert trajectories ahead of distillation: ``python scripts/buffer.py method=mtt dataset=cifar10``."""

from cmidd.cli.commands.buffer import main

if __name__ == "__main__":
    main()
