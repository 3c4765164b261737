"""Write a synthetic set as pictures with a JSON, or in another project's format: cmidd export RUN FOLDER."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("export")
