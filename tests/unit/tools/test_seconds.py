"""Seconds are of an iteration."""

import importlib.util
import itertools

import pytest

from cmidd.methods import METHODS
from tests.support.records import ROOT
from tests.support.runs import TINY, TINY_METHOD

spec = importlib.util.spec_from_file_location("seconds", ROOT / "tools" / "seconds.py")
seconds = importlib.util.module_from_spec(spec)
spec.loader.exec_module(seconds)


@pytest.mark.parametrize("method", ["dsa", "ncfm"])
def test_a_turn_is_one_iteration(method, tmp_path, monkeypatch):
    """DSA's has two steps, and NCFM's a plain one after its step."""
    kind, seen = METHODS[method], []

    class Seen(kind):
        def matches(self, iteration):
            seen.append(iteration)
            yield from super().matches(iteration)

    monkeypatch.setitem(METHODS.built_in, method, Seen)
    turns = seconds.iterations([*TINY, *TINY_METHOD[method], f"buffers_root={tmp_path}"])
    for number, _ in enumerate(itertools.islice(turns, 3)):
        assert seen == list(range(number + 1))
