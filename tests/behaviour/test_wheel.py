"""The wheel: what a stranger installs holds the configs and the command, and needs no checkout."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from tests.support.refusals import ROOT
from tests.support.runs import TINY, TINY_METHOD

pytestmark = pytest.mark.ci
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # Without isolation: what builds it is in the environment of the tests already.
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), ROOT]
    subprocess.run(command, check=True)
    (path,) = folder.glob("cmidd-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """``cmidd`` in a fresh environment, which sees torch and the others where the tests have them."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True, env=ENVIRONMENT)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin" / "cmidd"


def test_it_holds_the_package_its_configs_its_page_and_its_types(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"cmidd/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "cmidd").rglob("*.py")}
    page = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cmidd" / "analysis").rglob("*")
        if path.suffix in (".html", ".css", ".js", ".LICENSE")
    }
    assert len(page) == 10
    assert configs | sources | page | {"cmidd/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "scripts", "docs", "results"))]


def test_it_distils_in_an_empty_folder(installed, tmp_path):
    words = [*TINY, *TINY_METHOD["dm"]]
    own = {"cwd": tmp_path, "env": ENVIRONMENT, "capture_output": True, "text": True, "check": False}
    done = subprocess.run([installed, "distill", *words], **own)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "digits" / "dm" / "ipc10" / "cmi0" / "seed0"
    assert (folder / "DONE").exists()
    assert '"command": "cmidd distill ' in (folder / "result.json").read_text()
    for words, said in (["--version"], "cmidd "), (["distill", "--help"], "cmidd distill method=mtt"):
        shown = subprocess.run([installed, *words], **own)
        assert said in shown.stdout
        assert str(ROOT) not in shown.stdout
    assert "tabel: unknown" in subprocess.run([installed, "table", "tabel=digits"], **own).stderr
