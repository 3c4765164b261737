"""The runs that prove a refactor have every plug-in, and settings that are sound."""

import importlib.util

from cmidd.cli.compose import compose
from cmidd.methods import METHODS
from cmidd.regularizers import REGULARIZERS
from cmidd.samplers import SAMPLERS
from cmidd.schedules import SCHEDULES
from tests.support.records import ROOT

spec = importlib.util.spec_from_file_location("same_bits", ROOT / "tools" / "same_bits.py")
same_bits = importlib.util.module_from_spec(spec)
spec.loader.exec_module(same_bits)


def test_the_runs_have_every_plug_in():
    runs = [compose([*same_bits.COMMON, *words]) for words in same_bits.RUNS.values()]
    assert {run.method["name"] for run in runs} == set(METHODS)
    assert {run.sampler["name"] for run in runs} == set(SAMPLERS)
    assert {run.schedule["name"] for run in runs} == set(SCHEDULES)
    assert {name for run in runs for name in run.terms} == set(REGULARIZERS)
