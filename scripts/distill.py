"""Distil a data set: ``python scripts/distill.py method=mtt +cmi.lambda=0.1``."""

from cmidd.cli import app
from cmidd.run import run

if __name__ == "__main__":
    app(run)
