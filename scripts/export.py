"""Write a synthetic set as PNGs, labels.csv and synthetic.json: cmidd export RUN FOLDER."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("export")
