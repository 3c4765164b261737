"""Signals wait for the checkpoint, and a run that was asked to stop goes on where it stopped."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from cmidd import load_synthetic
from cmidd.utils.interruption import deferred_signals
from tests.support.runs import ROOT, TINY, distill, result, wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_reaches_its_handler_after_the_work_and_ends_the_process(number):
    events = []
    former = signal.signal(number, lambda *_: events.append("handled"))
    try:
        with pytest.raises(SystemExit) as end, deferred_signals() as signals:
            assert not signals.asked_to_stop
            os.kill(os.getpid(), number)
            assert signals.asked_to_stop
            events.append("saved")
    finally:
        signal.signal(number, former)
    assert events == ["saved", "handled"]
    assert end.value.code == 128 + number


def test_nothing_happens_without_a_signal():
    before = signal.getsignal(signal.SIGTERM)
    with deferred_signals() as signals:
        assert not signals.asked_to_stop
    assert signal.getsignal(signal.SIGTERM) is before


def test_where_nothing_is_unsaved_a_signal_takes_effect_at_once():
    events = []
    former = signal.signal(signal.SIGUSR1, lambda *_: events.append("handled"))
    try:
        with deferred_signals() as signals:
            with signals.suspended():
                os.kill(os.getpid(), signal.SIGUSR1)
                assert events == ["handled"]
            assert not signals.asked_to_stop
            with pytest.raises(SystemExit):
                os.kill(os.getpid(), signal.SIGUSR1)
                assert events == ["handled"]
                with signals.suspended():
                    events.append("never")
    except SystemExit:
        pass
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert events[:2] == ["handled", "handled"]
    assert "never" not in events


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_is_asked_to_stop_saves_its_state_and_goes_on_from_there(tmp_path, number):
    words = ["method=dm", "method.iterations=400", "evaluation.baselines=[]", "checkpoint_seconds=1000"]
    assert distill(tmp_path, *words, "results_root=whole").returncode == 0
    folder = result(tmp_path, "dm", 0)
    command = [sys.executable, str(ROOT / "scripts" / "distill.py"), *TINY, *words]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = folder / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 3)
    assert not (folder / "checkpoint.safetensors").exists()
    run.send_signal(number)
    assert run.wait(timeout=240) == -number
    assert not (folder / "DONE").exists()
    resumed = distill(tmp_path, *words)
    assert "resuming at iteration" in resumed.stdout
    other = tmp_path / "whole" / folder.relative_to(tmp_path / "results")
    assert torch.equal(*(load_synthetic(each / "synthetic.safetensors").images for each in (folder, other)))
    records = [json.loads((each / "result.json").read_text()) for each in (folder, other)]
    assert records[0]["evaluations"] == records[1]["evaluations"]
