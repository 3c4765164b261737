"""Seconds per iteration and peak memory of the methods on random images: ``python scripts/bench.py``."""

from cmidd.cli.commands.bench import main

if __name__ == "__main__":
    main()
