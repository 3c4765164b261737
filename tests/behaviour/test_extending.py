"""What docs/extending.md shows works as written: its files are written into a copy, and its lines run there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.runs import TINY

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text()
COMMANDS = re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL)
# In one process, for the start of Python takes longer than these runs.
RUN_ALL = """
import json, sys
from cmidd.cli.compose import compose
from cmidd.runs.run import run
for words in json.loads(sys.argv[1]):
    settings = compose(words)
    run(settings, lambda _: {})
    print("DONE", settings.folder)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the project with the blocks of the page in it."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("cmidd", "configs"):
        shutil.copytree(ROOT / part, folder / part)
    for block in re.findall(r"```(?:python|yaml)\n(.*?)```", TEXT, re.DOTALL):
        first, text = block.split("\n", 1)
        path = folder / first.removeprefix("# ").removeprefix("more: ")
        assert path.exists() == first.startswith("# more: "), first
        path.write_text(path.read_text() + "\n" + text if path.exists() else text)
    return folder


def test_every_example_of_the_page_runs_as_written(copy):
    tiny = [*TINY, "evaluation.repeats=1", "evaluation.baselines=[]", "method.iterations=2", "ipc=2"]
    more = {"mtt": ["method.experts.count=1", "method.experts.training.epochs=4"], "idm": ["method.queue_start=1"]}
    runs = []
    for line in COMMANDS:
        python, script, *words = shlex.split(line)
        assert (python, script) == ("python", "scripts/distill.py")
        method = words[0].removeprefix("method=")
        own = [word for word in tiny if "network=softmax" not in words or not word.startswith("network.")]
        runs.append([*words, *own, *more.get(method, [])])
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, "-c", RUN_ALL, json.dumps(runs)]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    folders = re.findall(r"^DONE results/(.*)$", done.stdout, re.MULTILINE)
    assert folders == [
        "digits/mtt+variation/ipc2/cmi0.1/seed0",
        "digits/dm+typical/ipc2/cmi0/seed0",
        "digits/dm+growing/ipc2/cmi0/seed0",
        "digits/logits+iid/ipc2/cmi0.1/seed0",
        "digits/idm/ipc2/cmi0/seed0",
        "small_digits/dm/ipc2/cmi0/seed0",
    ]
    assert all((copy / "results" / folder / "DONE").exists() for folder in folders)
