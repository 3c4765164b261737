"""Missing files are made once, several of them at a time where the caller can, and nobody waits with a lock."""

import threading

from cmidd.utils import locks


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
