"""Train the teachers ahead of distillation: ``python scripts/teachers.py dataset=cifar10``."""

from cmidd.cli.commands.teachers import main

if __name__ == "__main__":
    main()
