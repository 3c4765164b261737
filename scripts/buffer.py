"""Train the expert trajectories of MTT ahead of distillation; several processes at once share the work."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("buffer")
