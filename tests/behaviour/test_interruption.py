"""Signals wait for the checkpoint, and a run that was asked to stop goes on where it stopped."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

if sys.platform == "win32":
    pytest.skip("Windows has none of these signals, and sends none to another process", allow_module_level=True)
import torch

from cmidd import load_synthetic
from cmidd.utils.interruption import Stopped, deferred_signals, stopping_in_order
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


def test_a_signal_that_is_ignored_stays_so():
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with deferred_signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.asked_to_stop
            with signals.suspended():
                os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)


# Where coverage is measured it handles SIGTERM itself, and ends the process by it.
UNMEASURED = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
LONG = ["method=dm", "method.iterations=100", "method.batch_real=8", "ipc=2", "evaluation.repeats=1"]
LONG += ["evaluation.baselines=[]", "checkpoint_seconds=1000"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert distill(folder, *LONG).returncode == 0
    return result(folder, "dm", 0, ipc=2)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.heavy),
        pytest.param(signal.SIGHUP, marks=pytest.mark.heavy),
        pytest.param(signal.SIGUSR1, marks=pytest.mark.heavy),
    ],
)
def test_a_run_that_is_asked_to_stop_saves_its_state_and_goes_on_from_there(tmp_path, number, undisturbed):
    words = LONG
    folder = result(tmp_path, "dm", 0, ipc=2)
    command = [sys.executable, str(ROOT / "scripts" / "distill.py"), *TINY, *words]
    run = subprocess.Popen(
        command, cwd=tmp_path, env=UNMEASURED, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    metrics = folder / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 3)
    assert not (folder / "checkpoint.safetensors").exists()
    run.send_signal(number)
    said = run.communicate(timeout=240)[0].splitlines()
    assert run.returncode == 128 + number
    assert re.fullmatch(r"stopped at iteration \d+ of 100, saved; the same command goes on", said[-1])
    assert "Traceback" not in "".join(said)
    assert not (folder / "DONE").exists()
    resumed = distill(tmp_path, *words)
    assert "resuming at iteration" in resumed.stdout
    assert torch.equal(*(load_synthetic(each / "synthetic.safetensors").images for each in (folder, undisturbed)))
    records = [json.loads((each / "result.json").read_text()) for each in (folder, undisturbed)]
    assert records[0]["evaluations"] == records[1]["evaluations"]


def test_a_run_below_nohup_outlives_its_terminal(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "distill.py"), *TINY, *LONG]
    run = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=UNMEASURED,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    folder = result(tmp_path, "dm", 0, ipc=2)
    metrics = folder / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") >= 2)
    run.send_signal(signal.SIGHUP)
    assert run.wait(timeout=240) == 0
    assert (folder / "DONE").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_what_schedulers_send_ends_in_order_where_no_loop_holds_it_back(number):
    tidied = []
    with pytest.raises(Stopped) as end, stopping_in_order():
        try:
            os.kill(os.getpid(), number)
        finally:
            tidied.append(number)  # as locks and half-written files are
    assert (end.value.code, tidied) == (128 + number, [number])
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_second_ctrl_c_ends_at_once():
    with pytest.raises(Stopped) as end, deferred_signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.asked_to_stop
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError
    assert end.value.code == 130
    assert not end.value.saved


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.ci), pytest.param(signal.SIGTERM, marks=pytest.mark.heavy)]
)
def test_teachers_that_are_stopped_in_the_making_are_kept_and_say_so_in_one_line(tmp_path, number):
    words = ["dataset=digits", "cmi.pool=40", "cmi.epochs=20", "network.width=8"]
    command = [sys.executable, str(ROOT / "scripts" / "teachers.py"), *words]
    making = subprocess.Popen(
        command, cwd=tmp_path, env=UNMEASURED, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: list(tmp_path.rglob("teacher_000.safetensors")))
    making.send_signal(number)
    said = making.communicate(timeout=240)[1].splitlines()
    assert making.returncode == 128 + number
    assert said == ["stopped; what was finished is kept, and the same command goes on"]
    assert list(tmp_path.rglob("teacher_000.safetensors"))
