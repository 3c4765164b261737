"""Draw one method without and with CMI: images, t-SNE, curves, weights, all on one page, as PNG and PDF."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("figures")
