"""Compare two sets, runs or cells: is one better than the other, or is the difference inside the noise?"""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("compare")
