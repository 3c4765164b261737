"""Evaluate a synthetic set, ours or another's: networks are trained on it from scratch and tested."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("evaluate")
