"""Commands in processes of their own, which are forked from one that has imported everything.

Such a process has what a new one has (its own settings, random numbers, signal handlers and open files), but for the
seconds that the imports take. What is about these, or about how a process starts, starts a new one instead.
"""

import contextlib
import functools
import gc
import multiprocessing
import multiprocessing.forkserver
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_script(name, *words, cwd, folder="scripts"):
    """Run ``<folder>/<name>.py``; what :func:`subprocess.run` would return, both streams as text."""
    return forked(as_main, ROOT / folder / f"{name}.py", *words, cwd=cwd)


def as_main(path, *words):
    """Do in this process what ``python <path> <words>`` does in a new one."""
    sys.argv = [str(path), *words]
    runpy.run_path(sys.argv[0], run_name="__main__")


def forked(call, *arguments, cwd):
    """Do ``call(*arguments)`` in a forked process, which ends as that of a script does."""
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("out", "err")]
        process = server().Process(target=_as_if_new, args=(cwd, dict(os.environ), streams, call, arguments))
        process.start()
        process.join()
        said = [stream.read_text() for stream in streams]
    return subprocess.CompletedProcess(arguments, process.exitcode, *said)


def _as_if_new(cwd, environment, streams, call, arguments):
    gc.freeze()  # A collection would write to, and so copy, all that is shared with the server.
    for number, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT if cwd is None else cwd)
    call(*arguments)


def end():
    """End the server; here and not after the session, for it then writes what coverage measured."""
    multiprocessing.forkserver._forkserver._stop()


@functools.cache
def server():
    """What starts processes that are forked from the one that has imported everything."""
    if "forkserver" not in multiprocessing.get_all_start_methods():  # Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.support.imported"])
    with contextlib.chdir(ROOT):  # where the server finds these modules
        multiprocessing.forkserver.ensure_running()
    return context
