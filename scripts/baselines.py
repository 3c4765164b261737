"""Measure what a set is compared with: random real images, and the whole data set."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("baselines")
