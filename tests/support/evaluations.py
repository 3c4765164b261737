"""Evaluations as the command does them, without its process."""

import json

import torch

from cmidd.analysis.evaluations.evaluate import evaluate_sets
from cmidd.analysis.evaluations.settings import read_evaluation
from cmidd.analysis.evaluations.subject import load_subject
from cmidd.cli.compose import compose_evaluation, composition
from cmidd.cli.old_words import as_of_a_run
from cmidd.cli.words import as_hydra_reads


def asked(*words):
    """What ``cmidd evaluate`` is asked for by some words."""
    chosen = composition(as_hydra_reads(as_of_a_run([*words, "device=cpu"])), "evaluate")
    return read_evaluation(chosen.settings, chosen.words, compose_evaluation)


def subject(path, *words):
    """A set as it would be evaluated, with its settings and protocol."""
    return load_subject(asked(f"synthetic={path}", *words), str(path), torch.device("cpu"))


def evaluated(*words):
    """What ``cmidd evaluate`` writes: its record and its Markdown."""
    paths = evaluate_sets(asked(*words))
    return json.loads(paths[0].read_text()), paths[1].read_text()
