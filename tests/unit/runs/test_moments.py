"""A run keeps at most ten moments, the same ones however often it was killed."""

import itertools

import pytest
from PIL import Image

from cmidd.data.load import load_dataset
from cmidd.runs.moments import Moments, moments_of, spread
from cmidd.synthetic.synthetic_set import SyntheticSet
from cmidd.utils.random_streams import Streams
from tests.support.runs import run_here, run_until

EVERY = [
    "cmi.lambda=0",
    "evaluation.interval=1",
    "method.iterations=4",
    "evaluation.repeats=1",
    "evaluation.training.epochs=1",
]


@pytest.mark.parametrize("count", [1, 2, 9, 10, 11, 12, 300])
def test_the_moments_are_ten_at_most_evenly_spread_with_both_ends(count):
    found = spread(range(0, 5 * count, 5))
    assert len(found) == min(10, count)
    assert (found[0], found[-1]) == (0, 5 * (count - 1))
    gaps = [after - before for before, after in itertools.pairwise(found)]
    assert not gaps or max(gaps) - min(gaps) <= 5


def test_a_run_that_was_killed_keeps_the_moments_of_one_that_was_not(tmp_path):
    whole = run_here(tmp_path / "whole", "dm", *EVERY)
    run_until(2, "checkpoint.safetensors", tmp_path / "results", "dm", *EVERY)
    again = run_here(tmp_path / "results", "dm", *EVERY)
    moments = {path.name: path.read_bytes() for path in (whole / "moments").iterdir()}
    assert moments == {path.name: path.read_bytes() for path in (again / "moments").iterdir()}
    assert sorted(moments) == [f"00000{iteration}.png" for iteration in range(5)]
    assert list(moments_of(whole)) == sorted(moments_of(whole))


def test_another_interval_after_a_kill_leaves_ten_all_the_same(tmp_path):
    synthetic = SyntheticSet.from_real(load_dataset("digits"), 1, Streams(0)("init"))
    for evaluated in (range(3, 31, 3), range(5, 31, 5)):
        moments = Moments(tmp_path, evaluated)
        moments.start(synthetic)
        for at in evaluated:
            moments.keep(at, synthetic)
    assert list(moments_of(tmp_path)) == [0, 5, 10, 15, 20, 25, 30]


def test_a_folder_without_moments_has_none(tmp_path):
    assert moments_of(tmp_path) == {}
    (tmp_path / "moments").mkdir()
    Image.new("L", (1, 1)).save(tmp_path / "moments" / "cover.png")
    assert moments_of(tmp_path) == {}
