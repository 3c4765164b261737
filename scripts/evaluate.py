"""Evaluate synthetic sets, ours or another's: networks are trained on them from scratch and tested."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("evaluate")
