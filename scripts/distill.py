"""Distil a data set into a few synthetic images per class, and measure what they are worth."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("distill")
