"""Figures of one method without and with CMI: ``python scripts/figures.py method=dm dataset=digits``."""

from cmidd.cli.commands.figures import main

if __name__ == "__main__":
    main()
