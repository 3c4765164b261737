"""All results on one HTML page: ``python scripts/report.py``."""

from cmidd.cli.commands.report import main

if __name__ == "__main__":
    main()
