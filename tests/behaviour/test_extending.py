"""What docs/extending.md shows works as written: its files are written into a copy, and its lines run there."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.runs import TINY

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "extending.md").read_text()
PACKAGE = "cmidd-sharpness"
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
    """A copy of the project with the blocks of the page in it, and the package of the page as pip would install it."""
    folder = tmp_path_factory.mktemp("project")
    for part in ("cmidd", "configs"):
        shutil.copytree(ROOT / part, folder / part)
    for block in re.findall(r"```(?:python|toml)\n(.*?)```", TEXT, re.DOTALL):
        first, text = block.split("\n", 1)
        path = folder / first.removeprefix("# ")
        assert not path.exists(), path
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    project = tomllib.loads((folder / PACKAGE / "pyproject.toml").read_text())["project"]
    about = folder / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    points = [line for group, own in groups for line in (f"[{group}]", *(f"{name} = {own[name]}" for name in own))]
    (about / "entry_points.txt").write_text("\n".join(points))
    for module in (folder / PACKAGE).glob("*.py"):
        shutil.copy(module, folder / "site")
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
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'site'}"}
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
        "few_digits/dm/ipc2/cmi0/seed0",
        "digits/dm+sharpness/ipc2/cmi0/seed0",
    ]
    assert all((copy / "results" / folder / "DONE").exists() for folder in folders)
    settings = [json.loads((copy / "results" / folder / "settings.json").read_text()) for folder in folders]
    assert settings[1]["sampler"] == {"name": "typical", "power": 1.0}
    assert settings[3]["method"]["batch_real"] == 32
    assert settings[5]["dataset"]["classes"] == 3
    assert settings[6]["regularizers"]["sharpness"]["scale"] == 0.5


MISTYPED = {
    "method.lr_imag: unknown setting; did you mean method.lr_img?": ["method=logits", "method.lr_imag=1"],
    "method.batch_real=0: Input should be greater than 0": ["method=logits", "method.batch_real=0"],
    "did you mean sharpness.scale?": ["method=dm", "regularizer=sharpness", "sharpness.scle=1"],
    "did you mean dataset.classes?": ["method=dm", "dataset=few_digits", "dataset.clases=3"],
}
TYPE_ALL = """
import json, os, sys
from cmidd.cli.main import run
for words in json.loads(sys.argv[1]):
    sys.argv[1:] = words
    os.environ.pop("HYDRA_FULL_ERROR", None)  # which the command before has set
    try:
        run('distill')
    except SystemExit as end:
        print(end.code)
"""


def test_a_mistyped_setting_of_a_plug_in_without_a_config_is_refused(copy):
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'site'}"}
    command = [sys.executable, "-c", TYPE_ALL, json.dumps(list(MISTYPED.values()))]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2"] * len(MISTYPED), done.stderr
    for said, line in zip(MISTYPED, done.stderr.splitlines(), strict=True):
        assert said in line


def test_names_are_known_without_importing_torch(copy):
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'site'}"}
    code = "import sys, cmidd.cli.main as c\ntry:\n    c.run('distill')\nfinally:\n    print('torch' in sys.modules)"
    for words in (["method=nosuch"], ["regularizer=nosuch"]):
        command = [sys.executable, "-c", code, *words]
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1] == "False"
        assert "logits" in done.stderr or "sharpness" in done.stderr
