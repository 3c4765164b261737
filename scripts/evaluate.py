"""Evaluate synthetic sets, ours or another's: train networks on them from scratch, and test these."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("evaluate")
