"""Write a set as PNGs, labels.csv and synthetic.json: ``python scripts/export.py RUN FOLDER``."""

from cmidd.cli.commands.export import main

if __name__ == "__main__":
    main()
