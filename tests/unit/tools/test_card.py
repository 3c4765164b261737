"""What is asked of a card in its few minutes is asked to the end, whatever fails; here of a pretended one."""

import contextlib
import importlib.util
import json
from types import SimpleNamespace

import pytest
import torch

from cmidd.bench.modes import MODES
from cmidd.bench.workloads import OTHERS
from cmidd.methods import METHODS
from tests.support.pretended import pretended_device
from tests.support.records import ROOT

spec = importlib.util.spec_from_file_location("card", ROOT / "tools" / "card.py")
card = importlib.util.module_from_spec(spec)
spec.loader.exec_module(card)
TINY = "|ipc=1 network.width=4 network.depth=1"


@pytest.fixture(autouse=True)
def device(monkeypatch):
    """With what only a real one can say: kernels that were launched, and warnings of waits."""
    profiled = SimpleNamespace(events=list)
    monkeypatch.setattr(card, "profile", lambda **_: contextlib.nullcontext(profiled))
    monkeypatch.setattr(card, "SECONDS", 0.0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: 0)
    with pretended_device("cuda"):
        yield


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_task_that_fails_is_a_line_and_the_next_one_is_measured(capsys):
    card.main([f"tf32:nothing evaluation{TINY}"])
    failed, measured = lines(capsys)
    assert failed["task"] == "nothing" and "nothing" in failed["error"]
    assert measured["task"] == "evaluation" and measured["n"] == 3 and measured["ms"] > 0


def test_by_itself_it_tests_and_measures_until_the_time_is_over(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(card.subprocess, "run", lambda command, **how: asked.append((command, how)))
    monkeypatch.setattr(card, "_tried", lambda task, mode, words: {})
    card.main([])
    ((command, how),) = asked
    assert command[1:5] == ["-m", "pytest", "-m", "gpu"] and how["env"]["CMIDD_GPU"] == "1"
    assert len(lines(capsys)) == sum(len(each.partition("|")[0].partition(":")[2].split()) for each in card.ROUND)
    monkeypatch.setattr(card, "MINUTES", 0.0)
    card.main([])
    out, err = capsys.readouterr()
    assert not out and err.splitlines()[0] == "not measured, for the time is over: tf32 dm "


@pytest.mark.parametrize("argument", card.ROUND)
def test_what_it_measures_by_itself_there_is(argument):
    mode, _, tasks = argument.partition("|")[0].partition(":")
    assert mode in MODES
    assert {*tasks.split()} <= {*METHODS, *OTHERS}
