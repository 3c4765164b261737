"""Measure what a set is compared with: real images, random or chosen by a rule, and the whole data set."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("baselines")
