"""Distil a data set: ``python scripts/distill.py method=mtt +cmi.lambda=0.1``."""

from cmidd.cli.commands.distill import main

if __name__ == "__main__":
    main()
