"""Measure seconds and peak memory of an iteration of the methods, on random images."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("bench")
