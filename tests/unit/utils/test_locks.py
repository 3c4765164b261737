"""Missing files are made once, several of them at a time where the caller can, and nobody waits with a lock."""

import errno
import logging
import multiprocessing
import os
import threading
import time
import types

import pytest

from cmidd.utils import locks
from cmidd.utils.errors import SettingError


def names(folder, count):
    return [folder / "made" / str(number) for number in range(count)]


def made(paths, batches):
    """What makes the files of paths, and notes what it is asked for at once."""

    def make(indices):
        batches.append(indices)
        for index in indices:
            paths[index].write_text("")

    return make


def is_held(path):
    with locks.locked(path, wait=False) as mine:
        return not mine


def test_missing_files_are_made_as_many_at_once_as_the_caller_can(tmp_path):
    paths, batches = names(tmp_path, 7), []
    (tmp_path / "made").mkdir()
    paths[2].write_text("")
    locks.make_missing(paths, made(paths, batches), at_once=4)
    assert batches == [[0, 1, 3, 4], [5, 6]]
    locks.make_missing(paths, made(paths, batches), at_once=4)
    assert len(batches) == 2


def test_all_locks_of_what_is_made_at_once_are_held_and_no_other(tmp_path):
    paths, seen = names(tmp_path, 5), []

    def make(indices):
        seen.append((indices, [is_held(path) for path in paths]))
        for index in indices:
            paths[index].write_text("")

    locks.make_missing(paths, make, at_once=3)
    assert seen == [([0, 1, 2], [True] * 3 + [False] * 2), ([3, 4], [False] * 3 + [True] * 2)]


def test_what_another_is_at_work_on_is_left_to_the_end_and_waited_for_without_a_lock(tmp_path):
    paths, batches, ended = names(tmp_path, 4), [], threading.Event()
    with locks.locked(paths[1], wait=False):
        maker = threading.Thread(
            target=lambda: (locks.make_missing(paths, made(paths, batches), at_once=2), ended.set())
        )
        maker.start()
        assert not ended.wait(0.2)
        assert batches == [[0, 2], [3]]
        assert not any(is_held(path) for path in (paths[0], *paths[2:]))
    maker.join(10)
    assert batches == [[0, 2], [3], [1]]  # The other one ended without having made it.


WORK = {"experts": 6, "teachers": 5, "features": 3}  # files of each, and what needs all of the features
SECONDS = 0.08


def prepare(folder, first, ready):
    """Make all of WORK with others; the trace says who made what, and what was free when somebody waited."""
    paths = {name: [folder / name / str(number) for number in range(count)] for name, count in WORK.items()}
    baseline = folder / "baseline"

    def note(what, *more):
        with (folder / "trace").open("a") as file:
            file.write(" ".join([what, str(os.getpid()), *more]) + "\n")

    def make(path):
        note("made", f"{path.parent.name}/{path.name}")
        time.sleep(SECONDS)
        path.write_text("")

    def several(name):
        locks.make_missing(paths[name], lambda indices: make(paths[name][indices[0]]))

    def after_features():
        with locks.locked(baseline, wait=True):
            if not baseline.exists():
                several("features")
                make(baseline)

    def waiting(_):
        missing = [path for own in paths.values() for path in own if not path.exists()]
        note("waited", *(str(path) for path in missing if not locks._is_taken(path) and not path.exists()))
        sleep(0.01)

    jobs = [lambda name=name: several(name) for name in WORK] + [after_features]
    sleep, locks.time = time.sleep, types.SimpleNamespace(sleep=waiting)
    ready.wait()
    share = locks.deal_out(jobs[first:] + jobs[:first])
    note("ends", *(str(len(paths)) for paths in (share.asked, share.made)))


def test_four_processes_deal_the_work_out_and_none_waits_while_any_is_left_or_makes_anything_twice(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Barrier(4)
    processes = [context.Process(target=prepare, args=(tmp_path, first, ready)) for first in (0, 0, 1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    trace = [line.split() for line in (tmp_path / "trace").read_text().splitlines()]
    print(trace)
    files = sorted(what for kind, _, *rest in trace for what in rest if kind == "made")
    assert files == sorted([*(f"{name}/{n}" for name, count in WORK.items() for n in range(count)), files[-1]])
    assert len({pid for kind, pid, *_ in trace if kind == "made"}) > 1
    assert [free for kind, _, *free in trace if kind == "waited" and free] == []
    ends = [list(map(int, counts)) for kind, _, *counts in trace if kind == "ends"]
    assert [asked for asked, _ in ends] == [sum(WORK.values()) + 1] * 4
    assert sum(made for _, made in ends) == sum(WORK.values()) + 1


def test_what_a_killed_process_left_is_taken_over_by_the_others(tmp_path):
    paths = names(tmp_path, 2)

    def make(indices):
        paths[indices[0]].write_text("")

    def first_is_held():
        if not paths[1].exists():
            with locks.locked(paths[0], wait=False):  # by another process, which ends without having made it
                locks.make_missing(paths, make)
        locks.make_missing(paths, make)

    share = locks.deal_out([first_is_held])
    assert all(path.exists() for path in paths)
    assert share.made == share.asked == set(paths)


# --- file systems without flock


@pytest.fixture
def flock_says(monkeypatch):
    """Has the file system answer every lock with an error."""
    fcntl = pytest.importorskip("fcntl")

    def answer(number):
        def flock(_, operation):
            if operation != fcntl.LOCK_UN:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(fcntl, "flock", flock)

    return answer


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_locks_are_refused_one_line_says_what_to_do_and_nothing_is_left(tmp_path, flock_says, number):
    flock_says(number)
    refused = pytest.raises(SettingError, match=r"\.seed0\.lock: its file system refuses locks .* results_root")
    with refused, locked_run(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def locked_run(folder):
    return locks.locked(folder / "results" / "seed0", wait=False)


def test_where_there_is_no_flock_that_is_said_once_and_what_another_machine_left_is_named(tmp_path, flock_says, caplog):
    flock_says(errno.ENOSYS)
    locks._say_soft.cache_clear()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            with locked_run(tmp_path) as ours:
                assert ours
    assert caplog.text.count("has no flock") == 1
    left = tmp_path / "results" / ".seed0.lock"
    left.parent.mkdir()
    left.write_text("7\nnode2\n")
    with locked_run(tmp_path) as ours:
        assert not ours
        assert locks.taken_by(tmp_path / "results" / "seed0") == (
            f" (process 7 on node2; if that is gone, remove {left})"
        )


def test_of_a_lock_that_goes_with_its_process_nobody_says_who_holds_it(tmp_path):
    with locked_run(tmp_path):
        assert locks.taken_by(tmp_path / "results" / "seed0") == ""
