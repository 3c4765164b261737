"""Evaluate a synthetic set, ours or another's, on any networks: each is trained from scratch on it and tested."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("evaluate")
