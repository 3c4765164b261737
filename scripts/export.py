"""Write a synthetic set as PNGs and labels.csv: ``python scripts/export.py RUN/synthetic.safetensors FOLDER``."""

from cmidd.cli.commands.export import main

if __name__ == "__main__":
    main()
