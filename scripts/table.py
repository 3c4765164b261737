"""The paper's table with our results in it: ``python scripts/table.py``."""

from cmidd.cli.commands.table import main

if __name__ == "__main__":
    main()
