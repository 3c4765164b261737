"""The command line before anything heavy is imported: ``cmidd <command>``, its help, version and completion.

``scripts/<command>.py`` is the same command. Neither Hydra nor torch is needed for what is answered here.
"""

import contextlib
import difflib
import functools
import gc
import importlib
import io
import os
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cmidd
from cmidd.cli.commands import COMMANDS, OF_A_RUN
from cmidd.cli.help import overview, page
from cmidd.utils.errors import SettingError, one_line_errors
from cmidd.utils.text import command_line

HELP = ("-h", "--help", "--help=all")
UNREAD = 128 + 13  # A shell's code of what SIGPIPE ended, as ``head`` ends others.


@contextlib.contextmanager
def ending_in_order() -> Iterator[None]:
    """Where nobody reads on (``cmidd distill --help | head``), end without a word; at Ctrl-C with one.

    What runs once torch is imported saves its state first (:mod:`cmidd.utils.interruption`).
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # Closed by who started this; a file of a run would be opened in its place.
            setattr(sys, name, open(os.devnull, "w" if name != "stdin" else "r", encoding="utf-8"))  # noqa: SIM115
    try:
        yield
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("stopped; the same command begins again", file=sys.stderr)
        sys.exit(128 + 2)
    except BrokenPipeError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())  # Python writes what is left at its end.
        sys.exit(UNREAD)


@ending_in_order()
def main() -> None:
    """Run ``cmidd``, as it is installed."""
    if "_ARGCOMPLETE" in os.environ:
        from cmidd.cli.completion import answer

        answer()
    first, *others = sys.argv[1:] or ["--help"]
    if first in HELP:
        print(overview())
    elif first == "--version":
        print(version_line())
    elif first == "completion":
        from cmidd.cli.completion import script

        with one_line_errors():
            print(script(others))
    elif first in COMMANDS:
        sys.argv[1:] = others
        run(first)
    else:
        with one_line_errors():
            raise SettingError(_unknown(first))


@ending_in_order()
def run(command: str) -> None:
    """Run one command on the words of this process."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # Windows' pipes and older locales have no sign for some characters of a table: another, not a traceback.
        sys.stdout.reconfigure(errors="replace")
    gc.disable()  # Until there is work: an import of torch leaves little to collect, and looking for it takes 0.4 s.
    try:
        _run(command, sys.argv[1:])
    finally:
        gc.enable()


def _run(command: str, words: list[str]) -> None:
    if asked := [word for word in words if word in HELP]:
        print(page(command, everything="--help=all" in asked))
    elif "--version" in words:
        print(version_line())
    elif command == "export":
        load(command)(words)
    elif command == "distill" and (how := _dry_sweep(words)):
        from cmidd.cli.dry_run import show_sweep

        gc.enable()
        with one_line_errors():
            show_sweep(words, how)
    elif command == "evaluate":
        from cmidd.cli.app import evaluation_app
        from cmidd.cli.old_words import as_of_a_run

        with one_line_errors():
            words = as_of_a_run(words)
        evaluation_app(functools.partial(load, command), words)
    elif command in OF_A_RUN:
        from cmidd.cli.app import app

        if command == "distill" and _sweeping(words) and not any("prepare=true" in word for word in words):
            from cmidd.cli.sweep_runs import refuse_shared_folders

            with one_line_errors():
                refuse_shared_folders(words)
        app(functools.partial(load, command), words, plans=command == "distill")
    else:
        from cmidd.cli.app import hydra_app

        short = {"--verify": "verify=3"} if command == "table" else {}
        hydra_app(functools.partial(load, command), command, [short.get(word, word) for word in words])


def load(command: str) -> Any:
    """What a command does, ``main`` of its file, which is imported."""
    found = importlib.import_module(f"cmidd.cli.commands.{command}").main
    gc.enable()
    return found


def version_line() -> str:
    """cmidd's version, and those of what its numbers depend on."""
    found = []
    for name in ("torch", "torchvision"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"without {name}")
    return f"cmidd {cmidd.__version__} ({', '.join(found)}, Python {sys.version.split()[0]})"


def _dry_sweep(words: list[str]) -> str | None:
    """What the words say of ``dry_run``, where they are a sweep: Hydra would compose every run twice."""
    said = [word.partition("=")[2] for word in words if word.lstrip("+").startswith("dry_run=")]
    return said[-1].lower() if said and _sweeping(words) and said[-1].lower() in ("true", "measure") else None


def _sweeping(words: list[str]) -> bool:
    return any(word in ("-m", "--multirun", "hydra.mode=MULTIRUN") or word.startswith("+sweep=") for word in words)


def _unknown(word: str) -> str:
    if "=" in word:
        return f"{word}: a setting, where a command is expected; use {command_line('distill')} {word}"
    close = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{word}: unknown command; {hint}choose one of {', '.join(COMMANDS)}, completion"
