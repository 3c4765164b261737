"""Train the teachers of CMI ahead of distillation, and with regularizer=iid those of IID."""

from cmidd.cli.main import run

if __name__ == "__main__":
    run("teachers")
