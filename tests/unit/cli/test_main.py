"""The command ``cmidd``: what it answers at once, and that it and the scripts take the same words."""

import io
import os
import re
import subprocess
import sys
import tomllib

import pytest

import cmidd
from cmidd.cli import completion, help, main
from cmidd.cli.commands import COMMANDS, OF_A_RUN
from cmidd.cli.configs import CONFIGS, groups, options, settings_of
from cmidd.cli.refusals import one_line
from tests.support.refusals import ROOT, acceptable

AT_ONCE = {
    "help": ["--help"],
    "nothing": [],
    "help of a command": ["distill", "--help"],
    "all of it": ["bench", "--help=all"],
    "version": ["--version"],
    "version of a command": ["evaluate", "--version"],
    "completion": ["completion", "bash"],
}


def called(*words, **environment):
    code = "import sys; sys.argv[0] = 'cmidd'; from cmidd.cli.main import main\ntry: main()\n"
    code += "finally: print(sorted({'torch', 'hydra', 'numpy', 'omegaconf'} & set(sys.modules)), file=sys.stderr)"
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def here(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, "argv", ["cmidd", *words])
    code = 0
    try:
        main.main()
    except SystemExit as stop:
        code = stop.code
    return code, *capsys.readouterr()


@pytest.mark.parametrize("what", AT_ONCE)
def test_what_is_answered_at_once_needs_neither_torch_nor_hydra(what):
    done = called(*AT_ONCE[what])
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"
    assert done.stdout.strip()
    assert "powered by" not in done.stdout


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_where_a_stream_was_closed_by_who_started_it_it_works_all_the_same(monkeypatch, name):
    """``cmidd table >&-``: Python has None there, and a file that is opened next would be the stream of a library."""
    monkeypatch.setattr(sys, name, None)
    with main.ending_in_order():
        opened = getattr(sys, name)
        assert opened.name == os.devnull
    opened.close()


def test_it_starts_as_a_module_too():
    done = subprocess.run([sys.executable, "-m", "cmidd", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, main.version_line() + "\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--help"], ["distill", "--help"], ["distill", "-m", "dry_run=true", "seed=0,1"]])
def test_where_nobody_reads_on_it_ends_without_a_word(tmp_path, words, unbuffered):
    """As in ``cmidd distill --help | head``, with the code of what SIGPIPE ended."""
    code = "import sys; sys.argv[0] = 'cmidd'; from cmidd.cli.main import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered, "PYTHONPATH": str(ROOT)},
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("words", [["distill", "method=dm"], ["export", "run", "folder"], ["table"]], ids=" ".join)
def test_ctrl_c_while_a_command_is_still_starting_is_one_line(monkeypatch, capsys, words):
    """The first seconds go into importing Hydra and torch."""

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_run", interrupted)
    assert here(monkeypatch, capsys, *words) == (130, "", "stopped; the same command begins again\n")


def test_a_terminal_without_a_sign_for_a_character_shows_another(monkeypatch):
    """Pipes on Windows are cp1252, and tables say ≈."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(main, "_run", lambda command, words: print("42.35 ± 0.89 ≈"))
    main.run("table")
    stream.flush()
    assert stream.buffer.getvalue().decode("cp1252") == "42.35 ± 0.89 ?\n"


@pytest.mark.parametrize("words", [["ipcc=3"], ["method=nosuch"], ["nosuch=dm"]], ids=lambda words: words[0])
@pytest.mark.parametrize("command", ["distill", "evaluate"])
def test_an_unknown_key_or_group_is_refused_before_torch_is_imported(command, words):
    done = called(command, *words)
    assert done.returncode == 2
    said, modules = done.stderr.strip().splitlines()[-2:]
    assert "torch" not in modules
    acceptable("main", (command, *words), said, words[0].partition("=")[0])


def test_the_overview_names_every_command_in_one_line_and_each_has_its_file_and_script(monkeypatch, capsys):
    code, out, _ = here(monkeypatch, capsys)
    assert code == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\S.*\.$|^  {name} +\S", out, re.MULTILINE), name
    assert {path.stem for path in (ROOT / "scripts").glob("*.py")} == set(COMMANDS)
    assert {path.stem for path in (ROOT / "cmidd/cli/commands").glob("[a-z]*.py")} == set(COMMANDS)
    assert max(map(len, out.splitlines())) <= 120


@pytest.mark.parametrize("command", COMMANDS)
def test_help_says_what_a_command_does_with_four_examples_and_its_settings(monkeypatch, capsys, command):
    code, out, _ = here(monkeypatch, capsys, command, "--help")
    assert code == 0
    assert out.startswith(f"usage: cmidd {command}")
    examples = out.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert len(examples) == 4
    assert all(line.startswith("  cmidd ") for line in examples)
    assert max(map(len, out.splitlines())) <= 120
    if command == "export":
        return
    shown = out.partition("with their defaults:\n")[2].partition("\n\n")[0]
    for name in help.SHOWN.get(command, ()):
        assert f"  {name}=" in shown, name
        assert settings_of(command)[name].about, f"{name}: no comment in configs/ says what it is"
    assert ("Groups, and" in help.page(command, everything=True)) == (command in OF_A_RUN)


def test_help_of_a_script_shows_the_script():
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "table.py", "-h"], capture_output=True, text=True, check=True
    )
    assert "python scripts/table.py table=digits --verify" in done.stdout


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    code, out, _ = here(monkeypatch, capsys, "--version")
    assert code == 0
    assert out.startswith(f"cmidd {cmidd.__version__} (torch ")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["hatch"]["version"]["path"] == "cmidd/__init__.py"


@pytest.mark.parametrize(
    ("word", "said"),
    [("distil", "did you mean distill?"), ("method=dm", "distill method=dm"), ("nonsense", "choose one of distill")],
)
def test_an_unknown_command_is_refused_with_what_was_meant(monkeypatch, capsys, word, said):
    code, _, err = here(monkeypatch, capsys, word)
    assert code == 2
    assert said in acceptable("main", word, err.strip(), word)


def test_another_shell_is_refused(monkeypatch, capsys):
    code, _, err = here(monkeypatch, capsys, "completion", "powershell")
    assert code == 2
    acceptable("main", "powershell", err.strip(), "bash, zsh, fish")


CANDIDATES = {
    "a command": ("dis", [], ["distill"]),
    "a group": ("meth", ["distill"], ["method=", "method.experts.count="]),
    "what is chosen in it": ("dataset=cif", ["distill"], ["dataset=cifar10", "dataset=cifar100"]),
    "another in a list": ("regularizer=[iid,", ["distill"], ["regularizer=[iid,cmi", "regularizer=[iid,mim4dd"]),
    "a setting": ("cmi.l", ["distill", "method=dm"], ["cmi.lambda="]),
    "what its comment offers": ("engine.precision=t", ["distill"], ["engine.precision=tf32"]),
    "true or false": ("overwrite=t", ["distill"], ["overwrite=true"]),
    "of another command": ("syn", ["evaluate"], ["synthetic="]),
    "of a run in an evaluation": ("evaluation.t", ["evaluate"], ["evaluation.tests=", "evaluation.training.lr="]),
    "a protocol": ("evaluation=d", ["evaluate"], ["evaluation=dc", "evaluation=dsa"]),
    "a sweep": ("+sweep=table", ["distill"], ["+sweep=table1", "+sweep=table1_fashion"]),
    "a path": ("data.root=conf", ["distill"], ["data.root=configs/"]),
    "a path alone": ("cmi", ["export"], ["cmidd/"]),
    "a shell": ("z", ["completion"], ["zsh"]),
}


@pytest.mark.parametrize("what", CANDIDATES)
def test_a_word_is_completed(what, monkeypatch):
    monkeypatch.chdir(ROOT)
    prefix, before, wanted = CANDIDATES[what]
    found = completion.candidates(prefix, before)
    assert set(wanted) <= set(found)
    assert all(each.startswith(prefix) for each in found)


def test_the_shell_is_answered_without_torch_or_hydra(tmp_path):
    answer = tmp_path / "answer"  # Where argcomplete writes for a test instead of to the shell.
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    line = "cmidd distill dataset=cifar1"
    done = called(COMP_LINE=line, COMP_POINT=str(len(line)), **asked)
    assert set(re.split(r"[\s\x0b]+", answer.read_text().strip())) == {"dataset=cifar10", "dataset=cifar100"}
    assert "torch" not in done.stderr


def test_groups_and_options_are_those_that_hydra_finds():
    assert {"method", "dataset", "cmi", "sweep", "launch", "recipe"} <= set(groups())
    assert options("method") == ["datm", "dc", "dm", "dsa", "idc", "idm", "mtt", "ncfm"]
    assert CONFIGS == ROOT / "configs"


def test_only_sweeps_and_nothing_else_that_is_chosen_sets_the_mode_of_hydra():
    # cmidd/cli/app.py does not ask Hydra for its mode where no sweep is named.
    found = {
        path.parent.name for path in CONFIGS.rglob("*.yaml") if re.search(r"^ +mode: [A-Z]", path.read_text(), re.M)
    }
    assert found == {"sweep"}


def test_a_link_to_a_disk_that_was_emptied_is_not_said_to_exist(tmp_path):
    (tmp_path / "buffers").symlink_to(tmp_path / "scratch" / "buffers")
    for name in ("buffers", "buffers/experts"):
        with pytest.raises(OSError, match=r"File exists") as raised:
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
        assert f"{tmp_path}/buffers: a link to {tmp_path}/scratch/buffers, where nothing is" in one_line(raised.value)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "buffers").touch()
    with pytest.raises(FileExistsError) as raised:
        (tmp_path / "buffers").mkdir(exist_ok=True)
    assert "buffers: File exists -- " in one_line(raised.value)
