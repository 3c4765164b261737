"""Completion of commands, settings and their values in a shell, by argcomplete; imports neither Hydra nor torch."""

import argparse
from pathlib import Path

from cmidd.cli.commands import COMMANDS, OF_A_RUN
from cmidd.cli.configs import groups, options, settings_of
from cmidd.utils.errors import SettingError

SHELLS = ("bash", "zsh", "fish")
OPTIONS = ("--help", "--help=all", "--version", "--cfg", "-m")
VALUES = {"true", "false"}


def script(words: list[str]) -> str:
    """What a shell evaluates to complete ``cmidd``.

    Raises:
        SettingError: for another shell, and without one.
    """
    from argcomplete.shell_integration import shellcode

    if len(words) != 1 or words[0] not in SHELLS:
        raise SettingError(
            f'completion {" ".join(words)}: choose one of {", ".join(SHELLS)}, as in eval "$(cmidd completion bash)"'
        )
    return str(shellcode(["cmidd"], shell=words[0]))


def answer() -> None:
    """Answer the shell, which asks by environment variables, and end the process."""
    import argcomplete

    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("words", nargs="*").completer = (  # type: ignore[attr-defined]
        lambda prefix, parsed_args, **_: candidates(prefix, parsed_args.words or [])
    )
    argcomplete.autocomplete(parser, always_complete_options=False)


def candidates(prefix: str, before: list[str]) -> list[str]:
    """What the word that begins with ``prefix`` may become, after the words ``before`` it."""
    if not before:
        return [name for name in (*COMMANDS, "completion", "--help", "--version") if name.startswith(prefix)]
    command = before[0]
    if command == "completion":
        return [shell for shell in SHELLS if shell.startswith(prefix)]
    if command == "export" or command not in COMMANDS:
        return _paths(prefix)
    name, equals, value = prefix.partition("=")
    if equals:
        return [f"{name}={each}" for each in _values(command, name, value)]
    known = settings_of(command)
    names = [f"{each}=" for each, said in known.items() if said.default or "." in each]
    if command in OF_A_RUN:
        names += [f"{group}=" for group in groups() if f"{group}=" not in names]
        names += ["+sweep=", "+launch="]
    return sorted(word for word in (*names, *OPTIONS) if word.startswith(prefix))


def _values(command: str, name: str, value: str) -> list[str]:
    """What a setting may be: a group's options, what its comment offers (``auto | cpu``), or paths."""
    group = name.lstrip("+")
    if command in OF_A_RUN and group in groups():
        *others, last = value.lstrip("[").split(",")
        given = value[: len(value) - len(last)]
        return [f"{given}{each}" for each in options(group) if each.startswith(last) and each not in others]
    if (said := settings_of(command).get(group)) is None:
        return []
    offered = {word.strip(" ;:") for word in said.about.partition(";")[0].split("|")} if "|" in said.about else set()
    offered = {word.partition(":")[0] for word in offered if " " not in word.partition(":")[0]} | {said.default}
    offered |= VALUES if said.default in VALUES else set()
    found = sorted(word for word in offered if word and word.startswith(value) and "${" not in word)
    return found or _paths(value)


def _paths(prefix: str) -> list[str]:
    """Files and folders that a path may become, as it was begun."""
    folder, _, last = prefix.rpartition("/")
    above = f"{folder}/" if folder or prefix.startswith("/") else ""
    try:
        found = sorted(each for each in Path(above).expanduser().iterdir() if each.name.startswith(last))
    except OSError:
        return []
    return [f"{above}{each.name}{'/' if each.is_dir() else ''}" for each in found if last or each.name[0] != "."]
