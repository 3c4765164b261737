"""Progress: lines are rare and true, a rate is that of the work alone, and values are read seldom."""

import logging
import sys

import pytest

from cmidd.utils import clock, progress
from cmidd.utils.progress import Lines, counted


@pytest.fixture
def clocked(monkeypatch):
    """A clock that moves when it is told to, and nothing said before."""

    class Time:
        now = 1000.0

        def monotonic(self):
            return self.now

    time = Time()
    monkeypatch.setattr(progress, "time", time)
    monkeypatch.setattr(clock, "time", time)
    monkeypatch.setattr(progress, "_last_line", -progress.LINE_SECONDS)
    clock.restart()
    return time


def run(time, bar, seconds):
    with bar:
        for each in seconds:
            time.now += each
            bar.update()


def test_a_line_comes_every_half_minute_and_says_how_long_it_takes_on(clocked, caplog):
    caplog.set_level(logging.INFO)
    bar = counted("distilling", total=200)
    bar.say(loss=0.25)
    run(clocked, bar, [0.5] * 200)
    assert len(caplog.messages) == 3  # Of 100 seconds, the last five of which are not worth one.
    assert caplog.messages[0] == "distilling: iteration 11 of 200, loss 0.25, 0.5 s an iteration, 2 min left"
    assert all("0.5 s an iteration" in line for line in caplog.messages)


def test_several_at_once_share_the_half_minute(clocked, caplog):
    caplog.set_level(logging.INFO)
    for _ in range(4):
        run(clocked, counted("evaluating", total=20), [1.0] * 20)
    assert len(caplog.messages) == 2


def test_what_compiles_or_is_evaluated_meanwhile_does_not_slow_the_rate_nor_does_the_first_step(clocked):
    bar = counted("distilling", total=1000)
    with clock.timed("compiling"):
        clocked.now += 60
    run(clocked, bar, [5.0])
    assert bar.seconds_each is None
    run(clocked, bar, [0.5] * 4)
    with clock.timed("evaluation"):
        clocked.now += 300
        with clock.timed("compiling"):
            clocked.now += 20
    run(clocked, bar, [0.5] * 4)
    assert bar.seconds_each == pytest.approx(0.5)
    assert clock.taken() == {"compiling": 80, "evaluation": 300}


def test_the_rate_is_that_of_the_last_minute(clocked):
    bar = counted("distilling", total=1000)
    run(clocked, bar, [0.5] * 100 + [2.0] * 60)
    assert bar.seconds_each == pytest.approx(2.0)


def test_going_back_begins_anew_and_does_not_count_as_work(clocked):
    bar = counted("distilling", total=100)
    run(clocked, bar, [1.0] * 20)
    bar.update(-10)
    run(clocked, bar, [1.0] * 5)
    assert (bar.done, bar.seconds_each) == (15, pytest.approx(1.0))


def test_what_comes_beside_the_steps_is_part_of_the_time_left(clocked):
    bar = counted("distilling", total=100)
    run(clocked, bar, [1.0] * 40)
    bar.later(3600.0)
    assert bar._said()[-1] == "1.0 h left"
    bar.later(None)
    assert bar._said()[-1] == "1 min left without evaluations"


def test_values_are_read_for_lines_alone_where_there_is_no_bar(clocked):
    bar, read = counted("distilling", total=1000), 0
    for _ in range(1000):
        clocked.now += 0.1
        read += bar.looks()
        bar.update()
    assert 3 <= read <= 4


def test_a_terminal_has_a_bar_with_values_and_no_lines_unless_others_write_there(clocked, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = counted("distilling", total=50)
    bar.say(loss=0.25, cmi=0.5)
    run(clocked, bar, [1.0] * 20)
    assert bar._bar.postfix == "30 s left, loss 0.25, cmi 0.5, 1 s an iteration"
    line = logging.makeLogRecord({"progress": True})
    assert not Lines().filter(line)
    assert Lines().filter(logging.makeLogRecord({}))
    monkeypatch.setattr(progress, "alone", False)
    assert Lines().filter(line)
    assert counted("distilling", total=50)._bar is None
