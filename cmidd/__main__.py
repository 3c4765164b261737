"""``python -m cmidd``: the command, where ``cmidd`` itself is not on the path."""

from cmidd.cli.main import main

if __name__ == "__main__":
    main()
