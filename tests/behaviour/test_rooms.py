"""The rooms of docs/architecture.md: the contract of imports holds, notices a wrong one, and stands on the page."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.refusals import ROOT

CONTRACT = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
FLOORS = [floor.split(" | ") for floor in CONTRACT["layers"]]
# What each would break, by the file that it is added to.
WRONG = {
    "up": ("cmidd/utils/text.py", "from cmidd.runs.settings import Settings"),
    "sideways": ("cmidd/methods/dm.py", "from cmidd.schedules.pdd import PDD"),
    "for types": ("cmidd/core/match.py", "if TYPE_CHECKING:\n    from cmidd.loop.balance import Ratio"),
    "within a function": ("cmidd/loop/pace.py", "def f():\n    from cmidd.methods.dm import DM"),
    "in a circle": ("cmidd/data/split.py", "from cmidd.data.dataset import Dataset"),
}


def contract(folder: Path) -> subprocess.CompletedProcess:
    code = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "cmidd", tmp_path / "cmidd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_goes_down(copy):
    done = contract(copy)
    assert done.returncode == 0, done.stdout
    assert "ignore_imports" not in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_import_breaks_the_contract(copy, kind):
    path, line = WRONG[kind]
    with (copy / path).open("a") as file:
        file.write(f"\n{line}\n")
    done = contract(copy)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def test_the_page_has_the_rooms_and_floors_of_the_contract():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| (\d) \| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    said = {(len(FLOORS) - number, room) for number, floor in enumerate(FLOORS) for room in floor}
    assert {(int(floor), room) for floor, room, _ in rows} == said
    assert len(said) == 17
    for _, room, text in rows:
        for name in re.findall(r"`(\w+)`", text):
            place = ROOT / "cmidd" / room / name
            assert place.is_dir() or place.with_suffix(".py").exists(), (room, name)


def test_every_file_that_the_page_names_is_there():
    page = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`((?:\w+/)+\w+\.py)`", page)
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).exists() or (ROOT / "cmidd" / path).exists(), path


def test_only_the_finders_of_plug_ins_and_of_commands_import_by_name():
    found = [
        path for path in (ROOT / "cmidd").rglob("*.py") if re.search(r"import_module|__import__", path.read_text())
    ]
    assert {path.relative_to(ROOT / "cmidd").as_posix() for path in found} == {"cli/main.py", "utils/plugins.py"}


@pytest.mark.parametrize(("library", "place"), [("hydra", "cli"), ("omegaconf", "cli"), ("wandb", "runs/tracking.py")])
def test_a_library_is_known_in_one_place(library, place):
    knowing = re.compile(rf"^\s*(?:import|from) {library}\b", re.MULTILINE)
    found = [path for path in (ROOT / "cmidd").rglob("*.py") if knowing.search(path.read_text())]
    assert found
    assert all(path.relative_to(ROOT / "cmidd").as_posix().startswith(place) for path in found)


def length_of(function: ast.FunctionDef) -> int:
    """The lines of a function below its signature and docstring."""
    body = function.body[ast.get_docstring(function) is not None :]
    return function.end_lineno - body[0].lineno + 1 if body else 0


def test_files_and_functions_are_short_and_rooms_say_what_they_are():
    long = [path for path in (ROOT / "cmidd").rglob("*.py") if len(path.read_text().splitlines()) > 250]
    assert long == []
    long = [
        (path.name, function.name, length)
        for path in (ROOT / "cmidd").rglob("*.py")
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef) and (length := length_of(function)) > 50
    ]
    assert long == []
    for room in {room for floor in FLOORS for room in floor}:
        text = (ROOT / "cmidd" / room / "__init__.py").read_text()
        assert re.match(r'"""\S.*\n\nImports \S.*\n"""', text), room


def test_a_script_only_calls_its_command():
    for path in (ROOT / "scripts").glob("*.py"):
        code = re.sub(r'""".*?"""', "", path.read_text(), flags=re.DOTALL).split()
        wanted = f'from cmidd.cli.main import run if __name__ == "__main__": run("{path.stem}")'
        assert code == wanted.split(), path
        command = ROOT / "cmidd" / "cli" / "commands" / path.name
        script, own = (ast.get_docstring(ast.parse(each.read_text())) for each in (path, command))
        assert script == own.splitlines()[0], path
