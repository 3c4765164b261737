"""Write the paper's table with our results in it, as Markdown, LaTeX and CSV."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("table")
