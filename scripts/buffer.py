"""Train ahead what a method matches with: experts of MTT and DATM, networks of NCFM."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("buffer")
