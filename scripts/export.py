"""Write a synthetic set as pictures with a JSON, or in the formats of others: cmidd export RUN FOLDER."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("export")
