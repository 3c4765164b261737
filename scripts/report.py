"""Write all results on one HTML page, to look at or to mail around."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("report")
