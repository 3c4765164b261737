"""Processes that start the same thing at once: ``race_runs.py NUMBER SCRIPT WORDS ...``.

Forks NUMBER children that do what scripts/SCRIPT.py does with WORDS, all at the same moment, and then a lone one in
folders of its own; what they leave must be the same. Prints as JSON how many of them did, skipped or refused the work.
"""

import collections
import dataclasses
import functools
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from cmidd.cli.app import app
from cmidd.cli.main import load
from cmidd.utils.errors import SettingError
from tests.support.crash_runs import left_by

ENDS = {0: "came to the end", 2: "said that another is at work"}


def fork(work, settings, admitted, start: float) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        time.sleep(max(0.0, start - time.monotonic()))
        work(settings, admitted)
        code = 0
    except SettingError as error:
        code = 2 if "another process is at work on this run" in str(error) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main(number: int, work, settings, admitted) -> None:
    with tempfile.TemporaryDirectory() as folder:

        def end_of(name: str, children: int) -> collections.Counter:
            roots = {"results_root": f"{folder}/{name}/results", "buffers_root": f"{folder}/{name}/buffers"}
            own, start = dataclasses.replace(settings, **roots), time.monotonic() + 0.5
            started = [fork(work, own, admitted, start) for _ in range(children)]
            return collections.Counter(ENDS[os.waitstatus_to_exitcode(os.waitpid(c, 0)[1])] for c in started)

        ends = end_of("race", number)
        assert end_of("lone", 1) == {ENDS[0]: 1}
        race, lone = (left_by(Path(folder, name)) for name in ("race", "lone"))
        assert race.keys() - lone.keys() <= {name for name in race if name.endswith(".lock")}, race.keys() ^ lone.keys()
        different = [name for name in lone if race[name] != lone[name]]
        assert not different, different
    print(json.dumps({**ends, "files": len(lone)}))


if __name__ == "__main__":
    number, script = sys.argv[1:3]
    del sys.argv[1:3]
    app(lambda: functools.partial(main, int(number), load(script)), sys.argv[1:])
