"""Evaluate a synthetic set on other networks: ``python scripts/evaluate.py synthetic=RUN network=[convnet,vgg11]``."""

from cmidd.cli.commands.evaluate import main

if __name__ == "__main__":
    main()
